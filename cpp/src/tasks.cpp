#include "tasks.hpp"

#include <algorithm>

#include "error.hpp"
#include "output.hpp"

namespace unetkit {

namespace {

namespace fs = std::filesystem;

bool is_image(const Path& path) {
    std::string kind = ending(path);
    return kind == ".tif" || kind == ".tiff" || kind == ".png";
}

std::vector<Path> sorted(const Path& folder, bool (*wanted)(const fs::directory_entry&)) {
    std::vector<Path> found;
    if (!fs::is_directory(folder)) return found;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (wanted(entry) && !entry.path().filename().string().starts_with(".")) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

std::vector<Path> image_files(const Path& folder) {
    return sorted(folder, [](const fs::directory_entry& entry) {
        return entry.is_regular_file() && is_image(entry.path());
    });
}

std::vector<Path> folders_in(const Path& folder) {
    return sorted(folder, [](const fs::directory_entry& entry) { return entry.is_directory(); });
}

// The only file of a folder with this stem; none where there is none.
std::optional<Path> named(const Path& folder, const std::string& stem) {
    for (const char* suffix : {".tif", ".tiff", ".png"}) {
        Path found = folder / (stem + suffix);
        if (fs::is_regular_file(found)) return found;
    }
    return std::nullopt;
}

std::optional<Path> image_in(const Path& folder) {
    if (auto found = named(folder, "image")) return found;
    std::vector<Path> images = image_files(folder / "images");
    if (images.size() > 1)
        throw Error((folder / "images").string() + ": holds " + std::to_string(images.size()) +
                    " images; one was expected");
    return images.empty() ? std::nullopt : std::optional(images[0]);
}

std::vector<Path> masks_in(const Path& folder) {
    if (auto found = named(folder, "mask")) return {*found};
    std::vector<Path> masks = image_files(folder / "masks");
    if (masks.empty()) throw Error(folder.string() + ": holds neither mask.png nor images in masks/");
    return masks;
}

// Folders with an image each: of the input itself, or of its parts train and val.
std::vector<Task> tasks_of_folders(const Request& request) {
    std::vector<Task> tasks;
    std::vector<std::string> parts;
    for (const char* part : {"train", "val"}) {
        if (fs::is_directory(request.input / part)) parts.emplace_back(part);
    }
    if (parts.empty()) parts.emplace_back();
    for (const std::string& part : parts) {
        for (const Path& folder : folders_in(request.input / part)) {
            auto image = image_in(folder);
            if (!image) continue;
            std::string identity = folder.filename().string();
            Task task{part.empty() ? identity : part + "-" + identity, *image, {}, {}};
            if (request.labels) task.masks = masks_in(*request.labels / part / identity);
            tasks.push_back(std::move(task));
        }
    }
    return tasks;
}

std::vector<Task> tasks_of_files(const Request& request) {
    std::vector<Task> tasks;
    bool folder = fs::is_directory(request.input);
    for (const Path& image : folder ? image_files(request.input) : std::vector<Path>{request.input}) {
        Task task{image.stem().string(), image, {}, {}};
        if (request.labels && !fs::is_directory(*request.labels)) {
            if (folder)
                throw Error(request.labels->string() + ": a folder of masks was expected for a folder of images");
            task.masks = {*request.labels};
        } else if (request.labels) {
            auto mask = named(*request.labels, image.stem().string());
            if (!mask) throw Error(request.labels->string() + ": holds no mask for " + image.filename().string());
            task.masks = {*mask};
        }
        tasks.push_back(std::move(task));
    }
    return tasks;
}

}  // namespace

std::vector<Task> tasks_of(const Request& request) {
    bool folder = fs::is_directory(request.input);
    std::vector<Task> tasks = tasks_of_files(request);
    if (tasks.empty()) tasks = tasks_of_folders(request);
    if (tasks.empty())
        throw Error(request.input.string() +
                    ": holds no image files; expected .tif, .tiff or .png, or folders ID/image.png or ID/images");
    for (Task& task : tasks) {
        if (!request.out) continue;
        std::string suffix = !request.probabilities && ending(task.image) == ".png" ? ".png" : ".tif";
        task.out = folder || fs::is_directory(*request.out) ? *request.out / (task.name + suffix) : *request.out;
        std::error_code ignored;
        if (fs::equivalent(*task.out, task.image, ignored))
            throw Error(task.out->string() +
                        ": is the image itself; choose another --out, so that it is not overwritten");
        for (const Task& other : tasks) {
            if (&other == &task) break;
            if (other.out == task.out)
                throw Error(task.image.string() + ": its mask would have the name of that for " +
                            other.image.filename().string() + "; rename one of them");
        }
    }
    return tasks;
}

Stack open_masks(const Task& task) {
    Stack first = open_stack(task.masks[0]);
    if (task.masks.size() == 1 && task.masks[0].parent_path().filename() != "masks") return first;
    Stack whole = first;
    whole.path = task.masks[0].parent_path();
    whole.pages = whole.channels = 1;
    whole.read = [masks = task.masks, height = first.height, width = first.width](int) {
        Page page{1, height, width, std::vector<float>(static_cast<std::size_t>(height) * static_cast<std::size_t>(width))};
        for (const Path& path : masks) {
            Stack one = open_stack(path);
            if (one.pages != 1 || one.height != height || one.width != width)
                throw Error(path.filename().string() + " is not one page as large as the other masks");
            Page mask = one.read(0);
            for (std::size_t pixel = 0; pixel < page.area(); ++pixel) {
                if (mask.values[pixel] > 0) page.values[pixel] = 255;
            }
        }
        return page;
    };
    return whole;
}

}  // namespace unetkit
