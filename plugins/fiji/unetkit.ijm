// Segments the image that is open with unetkit, and shows the mask and, in the ROI Manager, the objects.
//
// Fiji: Plugins > Macros > Install..., then Plugins > Macros > unetkit. Needs `pip install 'unetkit[imagej]'`.
// The command is asked for once: where a terminal does not find `unetkit`, give its whole path. A model is a run folder,
// or a file that `unetkit export` wrote. From a script: runMacro("unetkit.ijm", command + "\n" + model + "\n1").

macro "unetkit" {
    if (nImages == 0) exit("Open an image first.");
    command = call("ij.Prefs.get", "unetkit.command", "unetkit");
    model = call("ij.Prefs.get", "unetkit.model", "");
    objects = true;
    given = getArgument();
    if (given != "") {
        parts = split(given, "\n");
        command = parts[0];
        model = parts[1];
        objects = parseInt(parts[2]);
    } else {
        Dialog.create("unetkit");
        Dialog.addString("Command", command, 50);
        Dialog.addString("Model", model, 50);
        Dialog.addCheckbox("Objects, too", objects);
        Dialog.show();
        command = Dialog.getString();
        model = Dialog.getString();
        objects = Dialog.getCheckbox();
        call("ij.Prefs.set", "unetkit.command", command);
        call("ij.Prefs.set", "unetkit.model", model);
    }
    if (!File.exists(model)) exit("There is no model at '" + model + "': give a run folder or an exported file.");

    image = getImageID();
    title = getTitle();
    start = getDirectory("temp") + "unetkit-" + d2s(getTime(), 0);
    setBatchMode(true);
    run("Duplicate...", "title=[" + title + "] duplicate");
    saveAs("Tiff", start + ".tif");
    close();
    setBatchMode(false);

    said = exec(command, "predict", model, start + ".tif", "--out", start + "-mask.tif");
    if (!File.exists(start + "-mask.tif")) failed(command + " predict " + model + " " + start + ".tif --out MASK.tif", said);
    if (objects) {
        said = exec(command, "predict", model, start + ".tif", "--out", start + "-objects.zip", "--objects");
        if (!File.exists(start + "-objects.zip")) failed(command + " predict " + model + " " + start + ".tif --out O.zip --objects", said);
    }
    open(start + "-mask.tif");
    rename("mask of " + title);
    selectImage(image);
    if (objects) {
        roiManager("reset");
        roiManager("open", start + "-objects.zip");
        roiManager("show all without labels");
        done = File.delete(start + "-objects.zip");
    }
    done = File.delete(start + "-mask.tif");
    done = File.delete(start + ".tif");
}

function failed(command, said) {
    // What a command prints about a failure does not come back to ImageJ.
    exit("unetkit did not write its result. In a terminal this says why:\n \n" + command + "\n \n" + said);
}
