#include "output.hpp"

#include <unistd.h>

#include <algorithm>

#include "error.hpp"

namespace unetkit {

std::string ending(const Path& path) {
    std::string text = path.extension().string();
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return std::tolower(letter); });
    return text;
}

Output::Output(const Path& path, const Shape& shape) : path_(path) {
    std::string kind = ending(path);
    bool png = kind == ".png";
    if (kind != ".tif" && kind != ".tiff" && !png)
        throw Error(path.string() + ": its ending says no form that is written; choose a name with .tif or .png");
    if (png && (shape.pages > 1 || shape.channels > 1 || shape.type == Type::f32))
        throw Error(path.string() +
                    ": several pages, or probabilities, are too much for a PNG file; choose a name with .tif");
    std::string name = ".";
    name += path.filename().string() + "." + std::to_string(::getpid()) + ".part";
    draft_ = path.parent_path() / name;
    try {
        if (png) {
            write_ = [draft = draft_, shape](Plane plane) { write_png(draft, shape, plane); };
        } else {
            write_ = begin_tiff(draft_, shape);
        }
    } catch (const Error& error) {
        std::error_code ignored;
        std::filesystem::remove(draft_, ignored);  // there is no Output yet whose end would do it
        fail(error.what());
    }
}

Output::~Output() {
    write_ = nullptr;
    std::error_code ignored;
    if (!done_) std::filesystem::remove(draft_, ignored);
}

void Output::put(Plane plane) {
    try {
        write_(plane);
    } catch (const Error& error) {
        fail(error.what());
    }
}

void Output::finish() {
    write_ = nullptr;  // which closes the file
    std::error_code error;
    std::filesystem::rename(draft_, path_, error);
    if (error) fail(error.message());
    done_ = true;
}

void Output::fail(const std::string& reason) const {
    throw Error(path_.string() + ": cannot be written: " + reason + "; free space or choose another place");
}

}  // namespace unetkit
