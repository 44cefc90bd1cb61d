// TIFF 6.0 and BigTIFF, read: what is asked for lies in the tags of each page's directory.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "error.hpp"
#include "images.hpp"
#include "inflate.hpp"

namespace unetkit {

namespace {

using View = std::span<const std::uint8_t>;

enum Tag : std::uint16_t {
    image_width = 256,
    image_length = 257,
    bits_per_sample = 258,
    compression = 259,
    photometric = 262,
    description = 270,
    strip_offsets = 273,
    samples_per_pixel = 277,
    rows_per_strip = 278,
    strip_byte_counts = 279,
    planar_configuration = 284,
    predictor = 317,
    tile_width = 322,
    tile_length = 323,
    tile_offsets = 324,
    tile_byte_counts = 325,
    sample_format = 339
};
enum Compression { none = 1, lzw = 5, adobe_deflate = 8, deflate = 32946, packbits = 32773 };

// The file as numbers of its byte order, with every place checked.
class Source {
public:
    explicit Source(View bytes) : bytes_(bytes), big_endian_(bytes[0] == 'M') {}

    bool big_endian() const { return big_endian_; }
    std::uint64_t size() const { return bytes_.size(); }

    View part(std::uint64_t offset, std::uint64_t size) const {
        if (offset > bytes_.size() || size > bytes_.size() - offset)
            throw Error("truncated: a part of it lies beyond its end; copy it again");
        return bytes_.subspan(offset, size);
    }

    std::uint64_t number(std::uint64_t offset, std::size_t width) const {
        View place = part(offset, width);
        std::uint64_t value = 0;
        for (std::size_t at = 0; at < width; ++at) value = value << 8 | place[big_endian_ ? at : width - 1 - at];
        return value;
    }

private:
    View bytes_;
    bool big_endian_;
};

struct Directory {
    std::map<std::uint16_t, std::vector<std::uint64_t>> tags;
    std::string text;

    std::uint64_t get(Tag tag, std::uint64_t otherwise) const {
        auto found = tags.find(tag);
        return found == tags.end() || found->second.empty() ? otherwise : found->second.front();
    }

    const std::vector<std::uint64_t>& all(Tag tag) const {
        auto found = tags.find(tag);
        if (found == tags.end() || found->second.empty()) throw Error("damaged: the places of its pixels are missing");
        return found->second;
    }
};

// What the pages of a stack have in common.
struct Layout {
    int width = 0, height = 0, samples = 1;
    std::uint64_t compressed = none;
    bool planar = false, differences = false, tiled = false;
    int block_width = 0, block_height = 0;
    Form form;

    bool operator==(const Layout& other) const {
        return width == other.width && height == other.height && samples == other.samples &&
               form.bits == other.form.bits && form.is_float == other.form.is_float &&
               form.is_signed == other.form.is_signed;
    }
};

Directory read_directory(const Source& source, std::uint64_t offset, bool big, std::uint64_t& next) {
    Directory result;
    std::uint64_t count = source.number(offset, big ? 8 : 2), entry = offset + (big ? 8 : 2);
    std::uint64_t width = big ? 20 : 12, room = big ? 8 : 4;
    source.part(entry, std::min<std::uint64_t>(count, source.size()) * width);
    for (std::uint64_t number = 0; number < count; ++number, entry += width) {
        constexpr std::size_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8, 8};
        std::uint64_t tag = source.number(entry, 2), type = source.number(entry + 2, 2),
                      values = source.number(entry + 4, room);
        std::size_t size = type < std::size(sizes) ? sizes[type] : 0;
        if (size == 0 || values > source.size() / size) continue;
        std::uint64_t place = values * size <= room ? entry + 4 + room : source.number(entry + 4 + room, room);
        if (tag == description && type == 2) {
            View text = source.part(place, values);
            result.text.assign(text.begin(), text.end());
        }
        if (type == 1 || type == 3 || type == 4 || type == 16) {
            std::vector<std::uint64_t> numbers(values);
            for (std::uint64_t at = 0; at < values; ++at) numbers[at] = source.number(place + at * size, size);
            result.tags[static_cast<std::uint16_t>(tag)] = std::move(numbers);
        }
    }
    next = source.number(entry, room);
    return result;
}

std::vector<Directory> read_chain(const Source& source) {
    bool big = source.number(2, 2) == 43;
    std::vector<Directory> result;
    std::set<std::uint64_t> seen;
    for (std::uint64_t offset = source.number(big ? 8 : 4, big ? 8 : 4); offset != 0;) {
        if (!seen.insert(offset).second || seen.size() > static_cast<std::size_t>(most_pages))
            throw Error("damaged: its page headers run in a circle");
        result.push_back(read_directory(source, offset, big, offset));
    }
    if (result.empty()) throw Error("damaged: it has no page");
    return result;
}

int bounded(std::uint64_t value, std::uint64_t most, const char* what) {
    if (value == 0 || value > most)
        throw Error("has " + std::to_string(value) + " " + what + ", which no image here has");
    return static_cast<int>(value);
}

Layout layout_of(const Directory& page, const Source& source) {
    Layout result;
    result.width = bounded(page.get(image_width, 0), 1 << 24, "columns");
    result.height = bounded(page.get(image_length, 0), 1 << 24, "rows");
    result.samples = bounded(page.get(samples_per_pixel, 1), 4, "channels");
    result.compressed = page.get(compression, none);
    result.planar = page.get(planar_configuration, 1) == 2 && result.samples > 1;
    result.differences = page.get(predictor, 1) == 2;
    std::uint64_t format = page.get(sample_format, 1), colours = page.get(photometric, 1);
    result.form.bits = bounded(page.get(bits_per_sample, 1), 64, "bits a sample");
    result.form.is_float = format == 3;
    result.form.is_signed = format == 2;
    result.form.big_endian = source.big_endian();
    result.form.inverted = colours == 0 && format == 1;
    result.form.spacing = result.planar ? 1 : result.samples;
    result.tiled = page.tags.contains(tile_offsets);
    auto most = static_cast<std::uint64_t>(1 << 24);
    result.block_width = result.tiled ? bounded(page.get(tile_width, 0), most, "columns a tile") : result.width;
    result.block_height = result.tiled ? bounded(page.get(tile_length, 0), most, "rows a tile")
                                       : bounded(std::min<std::uint64_t>(page.get(rows_per_strip, most),
                                                                         static_cast<std::uint64_t>(result.height)),
                                                 most, "rows a strip");
    int bits = result.form.bits;
    bool plain = bits == 8 || bits == 16 || bits == 32;
    if (!(result.form.is_float ? bits == 32 || bits == 64
                               : plain || (bits == 1 && result.samples == 1 && !result.tiled))) {
        throw Error("has samples of " + std::to_string(bits) +
                    " bits, which are not read here; save it with 8, 16 or 32 bits");
    }
    if (colours != 0 && colours != 1 && colours != 2 && colours != 3)
        throw Error("has colours of kind " + std::to_string(colours) +
                    ", which are not read here; save it as grey or RGB");
    if (page.get(predictor, 1) > 2 || (result.differences && (result.form.is_float || bits == 1)))
        throw Error("is compressed with a predictor that is not read here; save it without");
    return result;
}

View expanded(View data, const Layout& layout, std::size_t size, Bytes& buffer) {
    switch (layout.compressed) {
        case none:
            break;
        case lzw:
            data = buffer = expand_lzw(data, size);
            break;
        case adobe_deflate:
        case deflate:
            data = buffer = inflate_zlib(data, size);
            break;
        case packbits:
            data = buffer = expand_packbits(data, size);
            break;
        default:
            throw Error("has a compression (" + std::to_string(layout.compressed) +
                        ") that is not read here; save it uncompressed, or as LZW or Deflate");
    }
    if (data.size() < size) throw Error("truncated: a strip of it has fewer pixels than it should; copy it again");
    return data.first(size);
}

// Undo the differences between neighbouring pixels of a row, for samples of `width` bytes.
void add_up(std::span<std::uint8_t> row, std::size_t width, std::size_t spacing, bool big_endian) {
    for (std::size_t at = spacing * width; at + width <= row.size(); at += width) {
        unsigned carry = 0;
        for (std::size_t digit = 0; digit < width; ++digit) {
            std::size_t place = big_endian ? width - 1 - digit : digit;
            unsigned sum = row[at + place] + row[at - spacing * width + place] + carry;
            row[at + place] = static_cast<std::uint8_t>(sum);
            carry = sum >> 8;
        }
    }
}

Page read_page(const Source& source, const Directory& directory, const Layout& layout, int channels) {
    const auto& offsets = directory.all(layout.tiled ? tile_offsets : strip_offsets);
    const auto& sizes = directory.all(layout.tiled ? tile_byte_counts : strip_byte_counts);
    Page page{channels, layout.height, layout.width, {}};
    page.values.resize(page.area() * static_cast<std::size_t>(channels));
    auto across = static_cast<std::size_t>((layout.width + layout.block_width - 1) / layout.block_width);
    auto down = static_cast<std::size_t>((layout.height + layout.block_height - 1) / layout.block_height);
    auto spacing = static_cast<std::size_t>(layout.form.spacing);
    std::size_t row_size =
        (static_cast<std::size_t>(layout.block_width) * spacing * static_cast<std::size_t>(layout.form.bits) + 7) / 8;
    Bytes buffer, row_buffer;
    std::size_t block = 0;
    for (int plane = layout.planar ? 0 : -1; plane < (layout.planar ? channels : 0); ++plane) {
        for (std::size_t number = 0; number < across * down; ++number, ++block) {
            int top = static_cast<int>(number / across) * layout.block_height,
                left = static_cast<int>(number % across) * layout.block_width;
            int rows = std::min(layout.block_height, layout.height - top),
                columns = std::min(layout.block_width, layout.width - left);
            if (block >= offsets.size() || block >= sizes.size())
                throw Error("damaged: the places of its pixels are missing");
            std::size_t stored_rows = static_cast<std::size_t>(layout.tiled ? layout.block_height : rows);
            View data = expanded(source.part(offsets[block], sizes[block]), layout, stored_rows * row_size, buffer);
            for (int row = 0; row < rows; ++row) {
                View samples = data.subspan(static_cast<std::size_t>(row) * row_size, row_size);
                if (layout.differences) {
                    row_buffer.assign(samples.begin(), samples.end());
                    add_up(row_buffer, static_cast<std::size_t>(layout.form.bits / 8), spacing, layout.form.big_endian);
                    samples = row_buffer;
                }
                if (layout.form.bits > 1)
                    samples = samples.first(static_cast<std::size_t>(columns) * spacing *
                                            static_cast<std::size_t>(layout.form.bits / 8));
                put_row(samples, layout.form, page, top + row, left, plane);
            }
        }
    }
    return page;
}

// ImageJ describes a stack above 4 GB in one directory: "images=30" pages lie one after another.
int pages_of_imagej(const Directory& directory, std::size_t directories) {
    if (directories != 1 || !directory.text.starts_with("ImageJ=")) return 0;
    auto place = directory.text.find("\nimages=");
    return place == std::string::npos ? 0 : std::atoi(directory.text.c_str() + place + 8);
}

}  // namespace

Stack open_tiff(const Path& path, std::shared_ptr<const File> file) {
    Source source(file->bytes());
    auto directories = std::make_shared<std::vector<Directory>>(read_chain(source));
    Layout layout = layout_of(directories->front(), source);
    for (const Directory& directory : *directories) {
        if (layout_of(directory, source) != layout)
            throw Error("its pages differ in size or type; one size and type was expected");
    }
    auto area = static_cast<std::size_t>(layout.width) * static_cast<std::size_t>(layout.height);
    if (layout.compressed != none && area > largest_page)
        throw Error("its header promises " + std::to_string(area) +
                    " pixels, too many for a compressed image; store it uncompressed");
    if (layout.compressed == none && area / 8 > file->bytes().size())
        throw Error("truncated: it is too short for its pixels; copy it again");
    int channels = layout.samples >= 3 ? 3 : 1;
    std::size_t page_size =
        area * static_cast<std::size_t>(layout.samples) * static_cast<std::size_t>(layout.form.bits) / 8;
    int more =
        layout.compressed == none && !layout.tiled ? pages_of_imagej(directories->front(), directories->size()) : 0;
    Stack stack{path, static_cast<int>(directories->size()), channels, layout.height, layout.width, {}};
    if (more > 1) stack.pages = std::min(more, most_pages);
    stack.read = [=](int number) {
        Source pixels(file->bytes());
        try {
            if (more <= 1) {
                const Directory& directory = (*directories)[static_cast<std::size_t>(number)];
                return read_page(pixels, directory, layout_of(directory, pixels), channels);
            }
            Directory whole = directories->front();
            std::uint64_t first = whole.all(strip_offsets).front();
            whole.tags[strip_offsets] = {first + static_cast<std::uint64_t>(number) * page_size};
            whole.tags[strip_byte_counts] = {page_size};
            whole.tags[rows_per_strip] = {static_cast<std::uint64_t>(layout.height)};
            return read_page(pixels, whole, layout_of(whole, pixels), channels);
        } catch (const Error& error) {
            throw Error(path.string() + ", page " + std::to_string(number) + ": " + error.what());
        }
    };
    return stack;
}

}  // namespace unetkit
