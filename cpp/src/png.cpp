// PNG through libpng: images read and written. A palette is refused: what it means depends on what the image is for.
#include <png.h>

#include <array>
#include <bit>
#include <csetjmp>
#include <cstdio>
#include <memory>
#include <string>

#include "error.hpp"
#include "images.hpp"
#include "output.hpp"

namespace unetkit {

namespace {

// A file being read.
class Reader {
public:
    explicit Reader(const Path& path)
        : file_(std::fopen(path.c_str(), "rb"), &std::fclose),
          png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, this, &fail, [](png_struct*, const char*) {})),
          info_(png_create_info_struct(png_)) {
        if (file_ != nullptr && info_ != nullptr) return;
        png_destroy_read_struct(&png_, &info_, nullptr);
        throw Error("cannot be opened; close other programs");
    }
    ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // Call libpng, which leaves by longjmp where it fails: a step makes nothing that has a destructor.
    template <typename Step>
    void attempt(Step step) {
        if (setjmp(png_jmpbuf(png_)) != 0)
            throw Error(std::string("damaged (libpng: ") + complaint_.data() + "); copy it again");
        step(file_.get(), png_, info_);
    }

private:
    [[noreturn]] static void fail(png_struct* png, const char* text) {
        auto& complaint = static_cast<Reader*>(png_get_error_ptr(png))->complaint_;
        std::snprintf(complaint.data(), complaint.size(), "%s", text);
        png_longjmp(png, 1);
    }

    std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
    png_struct* png_;
    png_info* info_;
    std::array<char, 200> complaint_{};
};

Page read_png(const Path& path) {
    Reader reader(path);
    std::size_t width = 0, height = 0, row_size = 0;
    bool palette = false;
    Form form;
    reader.attempt([&](std::FILE* file, png_struct* png, png_info* info) {
        png_init_io(png, file);
        png_set_user_limits(png, largest_page, largest_page);  // of each side; what they enclose is checked below
        png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
        // Texts, profiles and the like are of no use here: they are passed over, not unpacked.
        png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
        png_read_info(png, info);
        width = png_get_image_width(png, info), height = png_get_image_height(png, info);
        palette = png_get_color_type(png, info) == PNG_COLOR_TYPE_PALETTE;
    });
    if (width * height > largest_page)
        throw Error("its header promises " + std::to_string(width * height) + " pixels, which are not decoded here");
    if (palette) throw Error("has a palette, which is not read here; save it as grey or RGB");
    reader.attempt([&](std::FILE*, png_struct* png, png_info* info) {
        png_set_expand_gray_1_2_4_to_8(png);
        if (std::endian::native == std::endian::little) png_set_swap(png);  // of 16 bits
        png_set_interlace_handling(png);
        png_read_update_info(png, info);
        row_size = png_get_rowbytes(png, info);
        form.bits = png_get_bit_depth(png, info), form.spacing = png_get_channels(png, info);
    });
    Bytes pixels(row_size * height);
    std::vector<std::uint8_t*> rows;
    for (std::size_t row = 0; row < height; ++row) rows.push_back(pixels.data() + row * row_size);
    reader.attempt([&](std::FILE*, png_struct* png, png_info*) {
        png_read_image(png, rows.data());
        png_read_end(png, nullptr);
    });
    Page page{form.spacing >= 3 ? 3 : 1, static_cast<int>(height), static_cast<int>(width), {}};
    page.values.resize(page.area() * static_cast<std::size_t>(page.channels));
    for (std::size_t row = 0; row < height; ++row) put_row({rows[row], row_size}, form, page, static_cast<int>(row), 0);
    return page;
}

}  // namespace

Stack open_png(const Path& path) {
    auto page = std::make_shared<const Page>(read_png(path));
    return {path, 1, page->channels, page->height, page->width, [page](int) { return *page; }};
}

void write_png(const Path& path, const Shape& shape, Plane plane) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(shape.width);
    image.height = static_cast<png_uint_32>(shape.height);
    image.format = shape.type == Type::u16 ? PNG_FORMAT_LINEAR_Y : PNG_FORMAT_GRAY;
    if (png_image_write_to_file(&image, path.c_str(), 0, plane.data(), 0, nullptr) == 0) throw Error(image.message);
}

}  // namespace unetkit
