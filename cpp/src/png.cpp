// PNG (ISO 15948), read: 8 or 16 bits, or one; grey or RGB, alpha is dropped; not interlaced, no palette.
#include <array>
#include <cstdlib>
#include <cstring>

#include "crc.hpp"
#include "error.hpp"
#include "images.hpp"
#include "inflate.hpp"

namespace unetkit {

namespace {

using View = std::span<const std::uint8_t>;

struct Header {
    std::uint32_t width = 0, height = 0;
    int depth = 0, colour = 0, interlace = 0;

    int samples() const { return colour == 0 ? 1 : colour == 2 ? 3 : colour == 4 ? 2 : 4; }
};

std::uint32_t number(View bytes, std::size_t at) {
    return static_cast<std::uint32_t>(bytes[at]) << 24 | static_cast<std::uint32_t>(bytes[at + 1]) << 16 |
           static_cast<std::uint32_t>(bytes[at + 2]) << 8 | bytes[at + 3];
}

// Read the header, and join the parts of the compressed pixels.
Header read_chunks(View file, Bytes& data) {
    Header header;
    for (std::size_t at = 8;;) {
        if (at + 12 > file.size()) throw Error("truncated: its end is missing; copy it again");
        std::size_t size = number(file, at);
        if (size > file.size() - at - 12) throw Error("truncated: a part of it lies beyond its end; copy it again");
        View name = file.subspan(at + 4, 4), content = file.subspan(at + 8, size);
        if (crc32(file.subspan(at + 4, size + 4)) != number(file, at + 8 + size))
            throw Error("damaged: it does not match its checksum; copy it again");
        bool first = at == 8;
        at += size + 12;
        auto is = [&](const char* wanted) { return std::memcmp(name.data(), wanted, 4) == 0; };
        if (first != is("IHDR") || (first && size != 13)) throw Error("damaged: its header is not where it should be");
        if (first) {
            header = {number(content, 0), number(content, 4), content[8], content[9], content[12]};
        } else if (is("IDAT")) {
            data.insert(data.end(), content.begin(), content.end());
        } else if (is("IEND")) {
            return header;
        }
    }
}

void refuse_others(const Header& header) {
    std::size_t area = static_cast<std::size_t>(header.width) * header.height;
    if (area == 0 || area > largest_page)
        throw Error("its header promises " + std::to_string(area) + " pixels, which are not decoded here");
    if (header.colour == 3) throw Error("has a palette, which is not read here; save it as grey or RGB");
    if (header.interlace != 0) throw Error("is interlaced, which is not read here; save it without");
    bool known = header.colour == 0 || header.colour == 2 || header.colour == 4 || header.colour == 6;
    if (!known || !(header.depth == 8 || header.depth == 16 || (header.depth == 1 && header.colour == 0))) {
        throw Error("has samples of " + std::to_string(header.depth) +
                    " bits, which are not read here; save it with 8 or 16");
    }
}

// Undo a row's filter; `above` is the row before it, `step` the bytes of a pixel.
void unfilter(int kind, std::span<std::uint8_t> row, View above, std::size_t step) {
    for (std::size_t at = 0; at < row.size(); ++at) {
        int left = at >= step ? row[at - step] : 0, up = above[at], corner = at >= step ? above[at - step] : 0;
        int guess = 0;
        switch (kind) {
            case 0:
                return;
            case 1:
                guess = left;
                break;
            case 2:
                guess = up;
                break;
            case 3:
                guess = (left + up) / 2;
                break;
            case 4: {
                int to_left = std::abs(up - corner), to_up = std::abs(left - corner),
                    to_corner = std::abs(left + up - 2 * corner);
                guess = to_left <= to_up && to_left <= to_corner ? left : to_up <= to_corner ? up : corner;
                break;
            }
            default:
                throw Error("damaged: a row with a filter that is none");
        }
        row[at] = static_cast<std::uint8_t>(row[at] + guess);
    }
}

Page decode(View file) {
    Bytes data;
    Header header = read_chunks(file, data);
    std::size_t row_size =
        (static_cast<std::size_t>(header.width) * static_cast<std::size_t>(header.samples() * header.depth) + 7) / 8;
    std::size_t step = std::max<std::size_t>(1, static_cast<std::size_t>(header.samples() * header.depth / 8));
    Bytes rows = inflate_zlib(data, (row_size + 1) * header.height);
    if (rows.size() < (row_size + 1) * header.height)
        throw Error("truncated: it has fewer pixels than it should; copy it again");
    Page page{header.samples() >= 3 ? 3 : 1, static_cast<int>(header.height), static_cast<int>(header.width), {}};
    page.values.resize(page.area() * static_cast<std::size_t>(page.channels));
    Form form{.bits = header.depth, .big_endian = true, .spacing = header.samples()};
    Bytes nothing(row_size);
    View above = nothing;
    for (int row = 0; row < page.height; ++row) {
        std::span<std::uint8_t> line(rows.data() + static_cast<std::size_t>(row) * (row_size + 1), row_size + 1);
        unfilter(line[0], line.subspan(1), above, step);
        above = line.subspan(1);
        put_row(above, form, page, row, 0);
    }
    return page;
}

}  // namespace

Stack open_png(const Path& path, std::shared_ptr<const File> file) {
    Bytes data;
    Header header = read_chunks(file->bytes(), data);
    refuse_others(header);
    auto read = [path, file](int) {
        try {
            return decode(file->bytes());
        } catch (const Error& error) {
            throw Error(path.string() + ": " + error.what());
        }
    };
    return {path, 1, header.samples() >= 3 ? 3 : 1, static_cast<int>(header.height), static_cast<int>(header.width),
            read};
}

}  // namespace unetkit
