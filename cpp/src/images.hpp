// Image files: stacks of pages of one size, read page by page; and the files that predictions are written to.
//
// TIFF (classic and BigTIFF, either byte order; strips or tiles; uncompressed, LZW, Deflate or PackBits; 1, 8, 16 or 32
// bits; grey or RGB) and PNG (8 or 16 bits, or bilevel; grey or RGB, not interlaced) are read by code of this folder:
// with a runtime the program then needs nothing else. Other forms are refused by name. Nothing that a header promises
// is believed without bounds.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
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

// What follows is for the two readers.

// A file mapped into memory.
class File {
public:
    explicit File(const Path& path);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    std::span<const std::uint8_t> bytes() const { return {begin_, size_}; }

private:
    const std::uint8_t* begin_ = nullptr;
    std::size_t size_ = 0;
};

Stack open_tiff(const Path& path, std::shared_ptr<const File> file);
Stack open_png(const Path& path, std::shared_ptr<const File> file);

// How samples are stored; `spacing` of them make a pixel, of which the first `page.channels` are taken.
struct Form {
    int bits = 8;
    bool is_float = false, is_signed = false, big_endian = false, inverted = false;
    int spacing = 1;
};

// Put a row of samples into a page; `plane`: of one channel alone, or -1 for all. Throws Error for NaN and infinity.
void put_row(std::span<const std::uint8_t> samples, const Form& form, Page& page, int row, int left, int plane = -1);

constexpr std::size_t largest_page = std::size_t{1} << 27;  // pixels of a compressed image, as in Python
constexpr int most_pages = 1 << 20;

}  // namespace unetkit
