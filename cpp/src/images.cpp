#include "images.hpp"

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string_view>

#include "error.hpp"
#include "tiles.hpp"

namespace unetkit {

Stack open_stack(const Path& path) {
    std::error_code problem;
    if (!std::filesystem::is_regular_file(path, problem))  // to open a pipe would wait for its other end
        throw Error(path.string() + ": cannot be read: " + (problem ? problem.message() : "it is no file"));
    std::ifstream file(path, std::ios::binary);
    if (!file) throw Error(path.string() + ": cannot be read: " + std::strerror(errno));
    std::string head(4, '\0');
    file.read(head.data(), static_cast<std::streamsize>(head.size()));
    if (file.gcount() == 0) throw Error(path.string() + ": the file is empty (0 bytes); an image was expected");
    using namespace std::string_view_literals;
    try {
        if (head == "II*\0"sv || head == "MM\0*"sv || head == "II+\0"sv || head == "MM\0+"sv) return open_tiff(path);
        if (head == "\x89PNG"sv) return open_png(path);
    } catch (const Error& error) {
        throw Error(path.string() + ": " + error.what());
    }
    const char* kind = head.starts_with("\xff\xd8") ? "a JPEG file"
                       : head.starts_with("BM")     ? "a BMP file"
                                                    : "no image that is known here";
    throw Error(path.string() + ": is " + kind + "; save it as TIFF or PNG");
}

Stack with_context(const Stack& stack, int context) {
    if (context == 0) return stack;
    if (stack.pages == 1)
        throw Error(stack.path.string() + ": is a single slice, but the network sees each slice with its neighbours "
                    "(model.context=" + std::to_string(context) + "); give the stack that it belongs to");
    Stack result = stack;
    result.channels *= 2 * context + 1;
    result.read = [stack, context, channels = result.channels](int page) {
        Page whole{channels, stack.height, stack.width, {}};
        for (int number = page - context; number <= page + context; ++number) {
            Page one = stack.read(mirrored(number, stack.pages));
            whole.values.insert(whole.values.end(), one.values.begin(), one.values.end());
        }
        return whole;
    };
    return result;
}

namespace {

template <typename T>
void put_samples(std::span<const std::uint8_t> samples, const Form& form, Page& page, std::size_t start, int plane) {
    std::size_t step = static_cast<std::size_t>(form.spacing) * sizeof(T), pixels = samples.size() / step;
    int first = plane < 0 ? 0 : plane, last = plane < 0 ? page.channels : plane + 1;
    for (int channel = first; channel < last; ++channel) {
        const std::uint8_t* place = samples.data() + static_cast<std::size_t>(channel - first) * sizeof(T);
        float* target = page.values.data() + static_cast<std::size_t>(channel) * page.area() + start;
        for (std::size_t pixel = 0; pixel < pixels; ++pixel, place += step) {
            T value;
            std::memcpy(&value, place, sizeof(T));
            if constexpr (std::is_floating_point_v<T>) {
                if (!std::isfinite(static_cast<float>(value))) throw Error("it has pixels that are NaN or infinite");
            } else if (form.inverted) {
                value = static_cast<T>(~value);
            }
            target[pixel] = static_cast<float>(value);
        }
    }
}

void put_bits(std::span<const std::uint8_t> samples, const Form& form, Page& page, std::size_t start) {
    for (std::size_t pixel = 0; pixel < static_cast<std::size_t>(page.width); ++pixel) {
        bool white = (samples[pixel / 8] >> (7 - pixel % 8) & 1) != 0;
        page.values[start + pixel] = white != form.inverted ? 255.0F : 0.0F;
    }
}

}  // namespace

void put_row(std::span<const std::uint8_t> samples, const Form& form, Page& page, int row, int left, int plane) {
    std::size_t start =
        static_cast<std::size_t>(row) * static_cast<std::size_t>(page.width) + static_cast<std::size_t>(left);
    switch (form.bits) {
        case 1:
            return put_bits(samples, form, page, start);
        case 8:
            return form.is_signed ? put_samples<std::int8_t>(samples, form, page, start, plane)
                                  : put_samples<std::uint8_t>(samples, form, page, start, plane);
        case 16:
            return form.is_signed ? put_samples<std::int16_t>(samples, form, page, start, plane)
                                  : put_samples<std::uint16_t>(samples, form, page, start, plane);
        case 32:
            return form.is_float    ? put_samples<float>(samples, form, page, start, plane)
                   : form.is_signed ? put_samples<std::int32_t>(samples, form, page, start, plane)
                                    : put_samples<std::uint32_t>(samples, form, page, start, plane);
        default:
            return put_samples<double>(samples, form, page, start, plane);
    }
}

}  // namespace unetkit
