// Files that predictions go to: TIFF stacks as ImageJ reads them, and PNG images. They have their name when they are
// whole.
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <vector>

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

// Refuse a name that says no form, or one of a form that cannot hold the shape; throws Error.
void require_output(const Path& path, const Shape& shape);

// A file being written: planes [height, width], page by page and channel by channel, in this machine's byte order.
class Output {
public:
    Output(const Path& path, const Shape& shape);
    ~Output();  // what was not finished is deleted
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    void put(std::span<const std::uint8_t> plane);
    void finish();

private:
    void begin_tiff();
    void end_tiff();
    void put_png(std::span<const std::uint8_t> plane);
    void write(std::span<const std::uint8_t> bytes);
    void write_number(std::uint64_t value, std::size_t width);
    [[noreturn]] void fail() const;

    Path path_, draft_;
    Shape shape_;
    std::ofstream file_;
    bool png_ = false, big_ = false, done_ = false;
    std::uint64_t first_plane_ = 0;
};

}  // namespace unetkit
