// Deflate (RFC 1951) in its zlib wrapper (RFC 1950), and LZW and PackBits as TIFF has them: decompressors that never
// give more than they were told to expect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace unetkit {

// Each returns up to `most` bytes; throws Error for what is no such data.
std::vector<std::uint8_t> inflate_zlib(std::span<const std::uint8_t> data, std::size_t most);
std::vector<std::uint8_t> expand_lzw(std::span<const std::uint8_t> data, std::size_t most);
std::vector<std::uint8_t> expand_packbits(std::span<const std::uint8_t> data, std::size_t most);

}  // namespace unetkit
