#include "output.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include "crc.hpp"
#include "error.hpp"

namespace unetkit {

namespace {

constexpr bool native_is_big = std::endian::native == std::endian::big;
constexpr std::uint64_t largest_classic = (std::uint64_t{1} << 32) - (std::uint64_t{1} << 24);

std::string ending(const Path& path) {
    std::string text = path.extension().string();
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char letter) { return std::tolower(letter); });
    return text;
}

// What ImageJ needs to know to show a stack of several channels.
std::string imagej(const Shape& shape) {
    int planes = shape.pages * shape.channels;
    std::string text = "ImageJ=1.11a\nimages=" + std::to_string(planes);
    if (shape.channels > 1) text += "\nchannels=" + std::to_string(shape.channels);
    text += "\nslices=" + std::to_string(shape.pages) + "\nhyperstack=true\nmode=grayscale\nloop=false\n";
    return text + '\0';
}

}  // namespace

void require_output(const Path& path, const Shape& shape) {
    std::string kind = ending(path);
    if (kind != ".tif" && kind != ".tiff" && kind != ".png")
        throw Error(path.string() + ": its ending says no form that is written; choose a name with .tif or .png");
    if (kind == ".png" && (shape.pages > 1 || shape.channels > 1 || shape.type == Type::f32))
        throw Error(path.string() +
                    ": several pages, or probabilities, are too much for a PNG file; choose a name with .tif");
}

Output::Output(const Path& path, const Shape& shape) : path_(path), shape_(shape) {
    require_output(path, shape);
    png_ = ending(path) == ".png";
    std::string name = ".";
    name += path.filename().string() + "." + std::to_string(::getpid()) + ".part";
    draft_ = path.parent_path() / name;
    file_.open(draft_, std::ios::binary | std::ios::trunc);
    if (!file_) fail();
    if (!png_) begin_tiff();
}

Output::~Output() {
    if (done_) return;
    file_.close();
    std::error_code ignored;
    std::filesystem::remove(draft_, ignored);
}

void Output::put(std::span<const std::uint8_t> plane) {
    if (png_) {
        put_png(plane);
    } else {
        write(plane);
    }
}

void Output::finish() {
    if (!png_) end_tiff();
    file_.close();
    if (!file_) fail();
    std::error_code error;
    std::filesystem::rename(draft_, path_, error);
    if (error) throw Error(path_.string() + ": cannot be written: " + error.message());
    done_ = true;
}

void Output::fail() const {
    throw Error(path_.string() + ": cannot be written: " + std::strerror(errno) +
                "; free space or choose another place");
}

void Output::write(std::span<const std::uint8_t> bytes) {
    file_.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!file_) fail();
}

void Output::write_number(std::uint64_t value, std::size_t width) {
    std::array<std::uint8_t, 8> bytes{};
    for (std::size_t at = 0; at < width; ++at)
        bytes[native_is_big ? width - 1 - at : at] = static_cast<std::uint8_t>(value >> 8 * at);
    write(std::span(bytes).first(width));
}

// The header with a place for the first directory, ImageJ's text, and then the pixels; directories follow at the end.
void Output::begin_tiff() {
    auto planes = static_cast<std::uint64_t>(shape_.pages) * static_cast<std::uint64_t>(shape_.channels);
    std::uint64_t pixels = planes * shape_.plane();
    big_ = pixels + planes * 256 > largest_classic;
    std::string text = imagej(shape_);
    std::uint64_t begin = big_ ? 16 : 8;
    first_plane_ = (begin + text.size() + 15) / 16 * 16;
    std::uint64_t directories = first_plane_ + pixels;
    directories += directories % 2;
    write_number(native_is_big ? 0x4D4D : 0x4949, 2);
    write_number(big_ ? 43 : 42, 2);
    if (big_) write_number(8, 2), write_number(0, 2);
    write_number(directories, big_ ? 8 : 4);
    text.resize(first_plane_ - begin, '\0');
    write({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

void Output::end_tiff() {
    struct Entry {
        int tag, type;  // 2 text, 3 a short, 4 a long, 16 a long of eight bytes
        std::uint64_t count, value;
    };
    std::uint64_t planes = static_cast<std::uint64_t>(shape_.pages) * static_cast<std::uint64_t>(shape_.channels);
    std::uint64_t at = first_plane_ + planes * shape_.plane();
    if (at % 2 != 0) write_number(0, 1), ++at;
    int wide = big_ ? 16 : 4;
    std::size_t room = big_ ? 8 : 4;
    auto bits = static_cast<std::uint64_t>(shape_.type) * 8;
    std::uint64_t text_size = imagej(shape_).size();
    for (std::uint64_t plane = 0; plane < planes; ++plane) {
        std::vector<Entry> entries = {{256, 4, 1, static_cast<std::uint64_t>(shape_.width)},
                                      {257, 4, 1, static_cast<std::uint64_t>(shape_.height)},
                                      {258, 3, 1, bits},
                                      {259, 3, 1, 1},
                                      {262, 3, 1, 1}};
        if (plane == 0) entries.push_back({270, 2, text_size, big_ ? std::uint64_t{16} : std::uint64_t{8}});
        entries.insert(entries.end(), {{273, wide, 1, first_plane_ + plane * shape_.plane()},
                                       {277, 3, 1, 1},
                                       {278, 4, 1, static_cast<std::uint64_t>(shape_.height)},
                                       {279, wide, 1, shape_.plane()},
                                       {339, 3, 1, shape_.type == Type::f32 ? std::uint64_t{3} : std::uint64_t{1}}});
        std::uint64_t size = (big_ ? 8 : 2) + entries.size() * (big_ ? 20 : 12) + room;
        write_number(entries.size(), big_ ? 8 : 2);
        for (const Entry& entry : entries) {
            write_number(static_cast<std::uint64_t>(entry.tag), 2);
            write_number(static_cast<std::uint64_t>(entry.type), 2);
            write_number(entry.count, room);
            std::size_t width = entry.type == 3 ? 2 : entry.type == 4 ? 4 : room;
            write_number(entry.value, width);
            write_number(0, room - width);
        }
        at += size;
        write_number(plane + 1 < planes ? at : 0, room);
    }
}

// One image of 8 or 16 bits, in uncompressed blocks of Deflate.
void Output::put_png(std::span<const std::uint8_t> plane) {
    auto width = static_cast<std::size_t>(shape_.type), row_size = static_cast<std::size_t>(shape_.width) * width;
    Bytes rows;
    for (int row = 0; row < shape_.height; ++row) {
        rows.push_back(0);
        for (std::size_t at = 0; at < row_size; ++at) {
            std::size_t place = width == 2 && !native_is_big ? at ^ 1 : at;
            rows.push_back(plane[static_cast<std::size_t>(row) * row_size + place]);
        }
    }
    auto big = [](Bytes& out, std::uint32_t value) {
        for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
    };
    Bytes data;
    data.reserve(rows.size() + 5 * (rows.size() / 65535 + 1) + 6);
    data.push_back(0x78), data.push_back(0x01);
    std::uint32_t one = 1, two = 0;
    for (std::size_t at = 0; at < rows.size(); at += 65535) {
        std::size_t size = std::min<std::size_t>(65535, rows.size() - at);
        data.insert(data.end(), {static_cast<std::uint8_t>(at + size == rows.size()), static_cast<std::uint8_t>(size),
                                 static_cast<std::uint8_t>(size >> 8), static_cast<std::uint8_t>(~size),
                                 static_cast<std::uint8_t>(~size >> 8)});
        data.insert(data.end(), rows.begin() + static_cast<std::ptrdiff_t>(at),
                    rows.begin() + static_cast<std::ptrdiff_t>(at + size));
    }
    for (auto byte : rows) one = (one + byte) % 65521, two = (two + one) % 65521;
    big(data, two << 16 | one);
    Bytes header;
    big(header, static_cast<std::uint32_t>(shape_.width)), big(header, static_cast<std::uint32_t>(shape_.height));
    header.insert(header.end(), {static_cast<std::uint8_t>(8 * width), 0, 0, 0, 0});
    constexpr std::array<std::uint8_t, 8> magic = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    write(magic);
    for (const auto& [name, content] :
         {std::pair{"IHDR", &header}, std::pair{"IDAT", &data}, std::pair{"IEND", static_cast<Bytes*>(nullptr)}}) {
        Bytes head, sum;
        big(head, content == nullptr ? 0 : static_cast<std::uint32_t>(content->size()));
        head.insert(head.end(), name, name + 4);
        write(head);
        if (content != nullptr) write(*content);
        std::uint32_t checksum = crc32(std::span(head).subspan(4));
        big(sum, content == nullptr ? checksum : crc32(*content, checksum));
        write(sum);
    }
}

}  // namespace unetkit
