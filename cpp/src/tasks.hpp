// What is to be done: the images of the input, each with its name, where its result goes, and its masks. Layouts as in
// Python: a file, a folder of files, folders ID/image.png with ID/mask.png (also in train/ and val/), and nuclei as
// ID/images/*.png with ID/masks/*.png, one mask for every object.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "images.hpp"

namespace unetkit {

struct Task {
    std::string name;  // as Python names the sample; pages of a stack get their number behind it
    Path image;
    std::optional<Path> out;
    std::vector<Path> masks;  // several: one for every object
};

struct Request {
    Path input;
    std::optional<Path> out, labels;
    bool probabilities = false;
};

// Throws Error for an input without images, masks that are missing, and results that would overwrite something.
std::vector<Task> tasks_of(const Request& request);

// The masks of a task as a stack: of several the pixels that any of them marks are 255.
Stack open_masks(const Task& task);

}  // namespace unetkit
