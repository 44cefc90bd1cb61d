// Image files: stacks of pages of one size, read page by page. libtiff reads TIFF (tiff.cpp), libpng PNG (png.cpp);
// forms that unetkit in Python reads otherwise, or not at all, are refused by name. Nothing that a header promises is
// believed without bounds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

namespace unetkit {

using Path = std::filesystem::path;
using Bytes = std::vector<std::uint8_t>;

// One page: [channels, height, width] in stored units.
struct Page {
    int channels = 0, height = 0, width = 0;
    std::vector<float> values;

    std::size_t area() const { return static_cast<std::size_t>(height) * static_cast<std::size_t>(width); }
};

// An opened file. `channels` is 1 or 3: alpha is dropped.
struct Stack {
    Path path;
    int pages = 0, channels = 0, height = 0, width = 0;
    std::function<Page(int)> read;
};

// Open a file by its first bytes; throws Error for what is no such image.
Stack open_stack(const Path& path);

// Return the stack whose pages have the channels of the pages around them, from `context` before each to `context`
// after it, mirrored at the ends; 0: the stack itself. Throws Error for a single page.
Stack with_context(const Stack& stack, int context);

// What follows is for the two readers.

Stack open_tiff(const Path& path);
Stack open_png(const Path& path);

// How samples are stored, in this machine's byte order; `spacing` of them make a pixel, of which the first
// `page.channels` are taken.
struct Form {
    int bits = 8, spacing = 1;
    bool is_float = false, is_signed = false, inverted = false;
};

// Put a row of samples into a page; `plane`: of one channel alone, or -1 for all. Throws Error for NaN and infinity.
void put_row(std::span<const std::uint8_t> samples, const Form& form, Page& page, int row, int left, int plane = -1);

constexpr std::size_t largest_page = std::size_t{1} << 27;  // pixels of a compressed image, as in Python

}  // namespace unetkit
