// CRC-32 as PNG has it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace unetkit {

inline std::uint32_t crc32(std::span<const std::uint8_t> bytes, std::uint32_t before = 0) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> result{};
        for (std::uint32_t byte = 0; byte < 256; ++byte) {
            std::uint32_t value = byte;
            for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xEDB88320U ^ value >> 1 : value >> 1;
            result[byte] = value;
        }
        return result;
    }();
    std::uint32_t sum = ~before;
    for (auto byte : bytes) sum = table[(sum ^ byte) & 0xFF] ^ sum >> 8;
    return ~sum;
}

}  // namespace unetkit
