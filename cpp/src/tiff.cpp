// TIFF and BigTIFF through libtiff: stacks read, and stacks written as ImageJ reads them.
#include <tiffio.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

#include "error.hpp"
#include "images.hpp"
#include "output.hpp"

namespace unetkit {

namespace {

constexpr tmsize_t most_held = tmsize_t{1} << 31;      // bytes that libtiff may ask for at once for itself
constexpr std::uint64_t longest_side = 1 << 24;        // of a page or a tile, in pixels
constexpr std::uint64_t largest_classic = 0xFF000000;  // bytes; in a classic TIFF an offset has 32 bits

// An opened file. libtiff shows by what it returns that it failed; what it said last is the reason.
class Tiff {
public:
    Tiff(const Path& path, const char* mode) : reading_(*mode == 'r') {
        TIFFOpenOptions* options = TIFFOpenOptionsAlloc();
        if (options == nullptr) throw std::bad_alloc();
        TIFFOpenOptionsSetMaxSingleMemAlloc(options, most_held);
        TIFFOpenOptionsSetErrorHandlerExtR(options, &hear, this);
        TIFFOpenOptionsSetWarningHandlerExtR(options, &hear, this);
        tiff_ = TIFFOpenExt(path.c_str(), mode, options);
        TIFFOpenOptionsFree(options);
        require(tiff_ != nullptr);
    }
    ~Tiff() {
        if (tiff_ != nullptr) TIFFClose(tiff_);
    }
    Tiff(const Tiff&) = delete;
    Tiff& operator=(const Tiff&) = delete;

    operator TIFF*() const { return tiff_; }

    void require(bool done) const {
        if (done) return;
        std::string reason = std::string("libtiff: ") + said_.data();
        throw Error(reading_ ? "damaged (" + reason + "); copy it again" : reason);
    }

    // Return a tag of the current directory, by the type in which libtiff gives it.
    std::uint16_t small(std::uint32_t tag) const { return get<std::uint16_t>(tag, 1); }
    std::uint32_t large(std::uint32_t tag) const { return get<std::uint32_t>(tag, 0); }

private:
    template <typename T>
    T get(std::uint32_t tag, T otherwise) const {
        TIFFGetFieldDefaulted(tiff_, tag, &otherwise);
        return otherwise;
    }

    static int hear(TIFF*, void* self, const char*, const char* format, va_list values) {
        auto& said = static_cast<Tiff*>(self)->said_;
        std::vsnprintf(said.data(), said.size(), format, values);
        return 1;  // so that it is not printed
    }

    TIFF* tiff_ = nullptr;
    bool reading_;
    std::array<char, 200> said_{"it gives no reason"};
};

// What the pages of a stack have in common.
struct Layout {
    int width, height, samples, bits, format;

    bool operator==(const Layout&) const = default;
};

int bounded(std::uint64_t value, std::uint64_t most, const char* what) {
    if (value == 0 || value > most)
        throw Error("has " + std::to_string(value) + " " + what + ", which no image here has");
    return static_cast<int>(value);
}

Error refusal(const std::string& what, const char* advice) {
    return Error("has " + what + ", which is not read here; save it " + advice);
}

std::uint64_t size_of(const Tiff& tiff) { return TIFFGetSizeProc(tiff)(TIFFClientdata(tiff)); }

// Read the layout from the current directory; throws Error for a form that is not read, and for more than there can be.
Layout layout_of(const Tiff& tiff) {
    int bits = tiff.small(TIFFTAG_BITSPERSAMPLE), format = tiff.small(TIFFTAG_SAMPLEFORMAT),
        colours = tiff.small(TIFFTAG_PHOTOMETRIC), compression = tiff.small(TIFFTAG_COMPRESSION);
    Layout result{bounded(tiff.large(TIFFTAG_IMAGEWIDTH), longest_side, "columns"),
                  bounded(tiff.large(TIFFTAG_IMAGELENGTH), longest_side, "rows"),
                  bounded(tiff.small(TIFFTAG_SAMPLESPERPIXEL), 4, "channels"), bits, format};
    bool bilevel = bits == 1 && result.samples == 1 && !TIFFIsTiled(tiff),
         plain = bits == 8 || bits == 16 || bits == 32;
    if (!(format == SAMPLEFORMAT_IEEEFP ? bits == 32 || bits == 64 : plain || bilevel))
        throw refusal("samples of " + std::to_string(bits) + " bits", "with 8, 16 or 32");
    if (colours > PHOTOMETRIC_PALETTE) throw refusal("colours of kind " + std::to_string(colours), "as grey or RGB");
    constexpr std::array known = {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_ADOBE_DEFLATE, COMPRESSION_DEFLATE,
                                  COMPRESSION_PACKBITS};
    if (std::ranges::find(known, compression) == known.end())
        throw refusal("compression " + std::to_string(compression), "uncompressed, or as LZW or Deflate");
    auto area = static_cast<std::uint64_t>(result.height) * static_cast<std::uint64_t>(result.width);
    if (compression != COMPRESSION_NONE && area > largest_page)
        throw Error("its header promises " + std::to_string(area) +
                    " pixels, too many for a compressed image; store it uncompressed");
    if (compression == COMPRESSION_NONE && area / 8 > size_of(tiff))
        throw Error("truncated: it is too short for its pixels; copy it again");
    return result;
}

bool is_planar(const Tiff& tiff, const Layout& layout) {
    return layout.samples > 1 && tiff.small(TIFFTAG_PLANARCONFIG) == PLANARCONFIG_SEPARATE;
}

// Read bytes as libtiff reads a strip of uncompressed pixels, from any place; return how many there were.
tmsize_t read_raw(const Tiff& tiff, std::uint64_t place, std::span<std::uint8_t> bytes, int bits) {
    TIFFGetSeekProc(tiff)(TIFFClientdata(tiff), place, SEEK_SET);
    tmsize_t found = TIFFGetReadProc(tiff)(TIFFClientdata(tiff), bytes.data(), static_cast<tmsize_t>(bytes.size()));
    if (TIFFIsByteSwapped(tiff) && bits > 8) {
        for (auto at = bytes.begin(); at != bytes.end(); at += bits / 8) std::reverse(at, at + bits / 8);
    }
    return found;
}

// Read the page of the current directory by its blocks, which are strips or tiles; `ahead`: the page that lies so many
// bytes behind it.
Page read_page(const Tiff& tiff, const Layout& layout, std::uint64_t ahead) {
    bool tiled = TIFFIsTiled(tiff), planar = is_planar(tiff, layout),
         inverted = layout.format == SAMPLEFORMAT_UINT && tiff.small(TIFFTAG_PHOTOMETRIC) == PHOTOMETRIC_MINISWHITE;
    Form form{layout.bits, planar ? 1 : layout.samples, layout.format == SAMPLEFORMAT_IEEEFP,
              layout.format == SAMPLEFORMAT_INT, inverted};
    std::uint64_t across = tiff.large(tiled ? TIFFTAG_TILEWIDTH : TIFFTAG_IMAGEWIDTH),
                  down = tiff.large(tiled ? TIFFTAG_TILELENGTH : TIFFTAG_ROWSPERSTRIP);
    if (tiled) {
        bounded(across * down, largest_page, "pixels a tile");
    } else {
        down = std::min(down, static_cast<std::uint64_t>(layout.height));
    }
    int wide = bounded(across, longest_side, "columns a block"), tall = bounded(down, longest_side, "rows a block");
    tmsize_t size = tiled ? TIFFTileSize(tiff) : TIFFStripSize(tiff),
             row_size = tiled ? TIFFTileRowSize(tiff) : TIFFScanlineSize(tiff);
    tiff.require(size > 0 && row_size > 0);
    Page page{layout.samples >= 3 ? 3 : 1, layout.height, layout.width, {}};
    page.values.resize(page.area() * static_cast<std::size_t>(page.channels));
    // Not filled with zeros: memory that no pixel comes for is not taken, however large a header makes a block.
    auto block = std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(size));
    std::uint32_t number = 0;
    for (int plane = planar ? 0 : -1; plane < (planar ? page.channels : 0); ++plane) {
        for (int top = 0; top < page.height; top += tall) {
            for (int left = 0; left < page.width; left += wide, ++number) {
                int rows = std::min(tall, page.height - top), columns = std::min(wide, page.width - left);
                auto wanted = static_cast<std::size_t>(rows * row_size),
                     used = static_cast<std::size_t>(row_size * columns / wide);
                tmsize_t found = tiled        ? TIFFReadEncodedTile(tiff, number, block.get(), size)
                                 : ahead == 0 ? TIFFReadEncodedStrip(tiff, number, block.get(), size)
                                              : read_raw(tiff, TIFFGetStrileOffset(tiff, number) + ahead,
                                                         {block.get(), wanted}, form.bits);
                tiff.require(found >= rows * row_size);
                for (int row = 0; row < rows; ++row)
                    put_row({block.get() + row * row_size, used}, form, page, top + row, left, plane);
            }
        }
    }
    return page;
}

// ImageJ describes a stack above 4 GB in one directory: "images=30" pages lie one after another. Return their number.
int pages_of_imagej(const Tiff& tiff, const Layout& layout) {
    constexpr std::string_view key = "\nimages=";
    const char* text = "";
    int pages = 1;
    TIFFGetField(tiff, TIFFTAG_IMAGEDESCRIPTION, &text);
    std::string_view description = text;
    auto place = description.find(key);
    if (description.starts_with("ImageJ=") && place != std::string_view::npos && !TIFFIsTiled(tiff) &&
        !is_planar(tiff, layout) && tiff.small(TIFFTAG_COMPRESSION) == COMPRESSION_NONE)
        std::from_chars(text + place + key.size(), text + description.size(), pages);
    return std::max(pages, 1);
}

// What ImageJ needs to know to show a stack of several channels.
std::string description_for_imagej(const Shape& shape) {
    std::string text = "ImageJ=1.11a\nimages=" + std::to_string(shape.pages * shape.channels);
    if (shape.channels > 1) text += "\nchannels=" + std::to_string(shape.channels);
    return text + "\nslices=" + std::to_string(shape.pages) + "\nhyperstack=true\nmode=grayscale\nloop=false\n";
}

}  // namespace

Stack open_tiff(const Path& path) {
    // Not mapped into memory: a file that becomes shorter meanwhile is then an error, and not the end of the program.
    auto tiff = std::make_shared<const Tiff>(path, "rm");
    const Layout layout = layout_of(*tiff);
    std::vector<toff_t> directories = {TIFFCurrentDirOffset(*tiff)};
    while (!TIFFLastDirectory(*tiff)) {
        tiff->require(TIFFReadDirectory(*tiff));
        if (layout_of(*tiff) != layout) throw Error("its pages differ in size or type; one size and type was expected");
        directories.push_back(TIFFCurrentDirOffset(*tiff));
    }
    int pages = static_cast<int>(directories.size()), more = pages == 1 ? pages_of_imagej(*tiff, layout) : 1;
    std::uint64_t first = TIFFGetStrileOffset(*tiff, 0), size = size_of(*tiff),
                  page_size = static_cast<std::uint64_t>(TIFFScanlineSize(*tiff) * layout.height);
    if (more > 1 && (size - std::min(first, size)) / page_size < static_cast<std::uint64_t>(more))
        throw Error("truncated: it is too short for its " + std::to_string(more) + " pages; copy it again");
    auto read = [=](int number) {
        try {
            auto page = static_cast<std::size_t>(number);
            tiff->require(TIFFSetSubDirectory(*tiff, directories[more > 1 ? 0 : page]));
            if (layout_of(*tiff) != layout) throw Error("changed while it was read; start again");
            return read_page(*tiff, layout, more > 1 ? page * page_size : 0);
        } catch (const Error& error) {
            throw Error(path.string() + ", page " + std::to_string(number) + ": " + error.what());
        }
    };
    return {path, pages * more, layout.samples >= 3 ? 3 : 1, layout.height, layout.width, read};
}

std::function<void(Plane)> begin_tiff(const Path& path, const Shape& shape) {
    int planes = shape.pages * shape.channels;
    bool big = static_cast<std::uint64_t>(planes) * (shape.plane() + 256) > largest_classic;
    auto tiff = std::make_shared<const Tiff>(path, big ? "w8" : "w");
    // ImageJ wants the pixels of all planes in one piece: the directories come first, and get their places afterwards.
    for (int plane = 0; plane < planes; ++plane) {
        TIFFSetField(*tiff, TIFFTAG_IMAGEWIDTH, shape.width);
        TIFFSetField(*tiff, TIFFTAG_IMAGELENGTH, shape.height);
        TIFFSetField(*tiff, TIFFTAG_ROWSPERSTRIP, shape.height);
        TIFFSetField(*tiff, TIFFTAG_BITSPERSAMPLE, 8 * static_cast<int>(shape.type));
        TIFFSetField(*tiff, TIFFTAG_SAMPLEFORMAT, shape.type == Type::f32 ? SAMPLEFORMAT_IEEEFP : SAMPLEFORMAT_UINT);
        TIFFSetField(*tiff, TIFFTAG_PHOTOMETRIC, PHOTOMETRIC_MINISBLACK);
        TIFFSetField(*tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
        if (plane == 0) TIFFSetField(*tiff, TIFFTAG_IMAGEDESCRIPTION, description_for_imagej(shape).c_str());
        tiff->require(TIFFDeferStrileArrayWriting(*tiff) && TIFFWriteCheck(*tiff, 0, "unetkit") &&
                      TIFFWriteDirectory(*tiff));
    }
    tiff->require(TIFFSetDirectory(*tiff, 0));
    return [tiff](Plane plane) {
        auto size = static_cast<tmsize_t>(plane.size());
        auto* bytes = const_cast<std::uint8_t*>(plane.data());  // which libtiff only reads
        tiff->require(TIFFWriteRawStrip(*tiff, 0, bytes, size) == size && TIFFForceStrileArrayWriting(*tiff) &&
                      (TIFFLastDirectory(*tiff) || TIFFReadDirectory(*tiff)));
    };
}

}  // namespace unetkit
