// Files that predictions go to: TIFF stacks as ImageJ reads them, and PNG images. They have their name when they are
// whole.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "images.hpp"

namespace unetkit {

enum class Type { u8 = 1, u16 = 2, f32 = 4 };  // the value is the size in bytes

struct Shape {
    int pages = 1, channels = 1, height = 0, width = 0;
    Type type = Type::u8;

    std::size_t plane() const {
        return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * static_cast<std::size_t>(type);
    }
};

std::string ending(const Path& path);  // in lower case, with its point

using Plane = std::span<const std::uint8_t>;  // [height, width] in this machine's byte order

// A file being written: planes page by page and channel by channel. Throws Error for a name that says no form, for a
// form that cannot hold the shape, and for what cannot be written.
class Output {
public:
    Output(const Path& path, const Shape& shape);
    ~Output();  // what was not finished is deleted
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    void put(Plane plane);
    void finish();

private:
    [[noreturn]] void fail(const std::string& reason) const;

    Path path_, draft_;
    std::function<void(Plane)> write_;
    bool done_ = false;
};

// What follows is for Output.

std::function<void(Plane)> begin_tiff(const Path& path, const Shape& shape);  // writes the next plane
void write_png(const Path& path, const Shape& shape, Plane plane);

}  // namespace unetkit
