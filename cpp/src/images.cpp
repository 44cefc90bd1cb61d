#include "images.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "error.hpp"

namespace unetkit {

File::File(const Path& path) {
    int handle = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat facts{};
    if (handle < 0 || ::fstat(handle, &facts) != 0 || !S_ISREG(facts.st_mode)) {
        std::string reason = handle < 0 ? std::strerror(errno) : "it is no file";
        if (handle >= 0) ::close(handle);
        throw Error(path.string() + ": cannot be read: " + reason);
    }
    size_ = static_cast<std::size_t>(facts.st_size);
    void* place = size_ == 0 ? nullptr : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, handle, 0);
    ::close(handle);
    if (place == MAP_FAILED) throw Error(path.string() + ": cannot be read: it does not fit into the address space");
    begin_ = static_cast<const std::uint8_t*>(place);
}

File::~File() {
    if (begin_ != nullptr) ::munmap(const_cast<std::uint8_t*>(begin_), size_);
}

Stack open_stack(const Path& path) {
    auto file = std::make_shared<const File>(path);
    auto bytes = file->bytes();
    if (bytes.empty()) throw Error(path.string() + ": the file is empty (0 bytes); an image was expected");
    auto begins = [&](std::string_view magic) {
        return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
    };
    using namespace std::string_view_literals;
    try {
        if (begins("II*\0"sv) || begins("MM\0*"sv) || begins("II+\0"sv) || begins("MM\0+"sv))
            return open_tiff(path, file);
        if (begins("\x89PNG"sv)) return open_png(path, file);
    } catch (const Error& error) {
        throw Error(path.string() + ": " + error.what());
    }
    const char* kind = begins("\xff\xd8"sv) ? "a JPEG file"
                       : begins("BM"sv)     ? "a BMP file"
                                            : "no image that is known here";
    throw Error(path.string() + ": is " + kind + "; save it as TIFF or PNG");
}

namespace {

template <typename T>
T stored(const std::uint8_t* place, bool swapped) {
    std::array<std::uint8_t, sizeof(T)> bytes;
    std::memcpy(bytes.data(), place, sizeof(T));
    if (swapped) std::reverse(bytes.begin(), bytes.end());
    return std::bit_cast<T>(bytes);
}

template <typename T>
void put_samples(std::span<const std::uint8_t> samples, const Form& form, Page& page, std::size_t start, int plane) {
    auto spacing = static_cast<std::size_t>(form.spacing);
    std::size_t pixels = samples.size() / (spacing * sizeof(T));
    int first = plane < 0 ? 0 : plane, last = plane < 0 ? page.channels : plane + 1;
    for (int channel = first; channel < last; ++channel) {
        const std::uint8_t* place = samples.data() + static_cast<std::size_t>(channel - first) * sizeof(T);
        float* target = page.values.data() + static_cast<std::size_t>(channel) * page.area() + start;
        for (std::size_t pixel = 0; pixel < pixels; ++pixel, place += spacing * sizeof(T)) {
            T value = stored<T>(place, form.big_endian != (std::endian::native == std::endian::big));
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
