#include "inflate.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "error.hpp"

namespace unetkit {

namespace {

using Bytes = std::vector<std::uint8_t>;

[[noreturn]] void damaged(const char* what) {
    throw Error(std::string("its compressed pixels are damaged (") + what + ")");
}

// Deflate packs bits from the lowest of each byte.
class Bits {
public:
    explicit Bits(std::span<const std::uint8_t> data) : data_(data) {}

    unsigned take(int count) {
        while (held_ < count) {
            if (at_ == data_.size()) damaged("they end early");
            buffer_ |= static_cast<std::uint64_t>(data_[at_++]) << held_;
            held_ += 8;
        }
        auto value = static_cast<unsigned>(buffer_ & ((std::uint64_t{1} << count) - 1));
        buffer_ >>= count;
        held_ -= count;
        return value;
    }

    void to_byte() { take(held_ % 8); }

private:
    std::span<const std::uint8_t> data_;
    std::size_t at_ = 0;
    std::uint64_t buffer_ = 0;
    int held_ = 0;
};

// A canonical Huffman code, decoded bit by bit from the counts of codes of each length.
class Huffman {
public:
    explicit Huffman(std::span<const std::uint8_t> lengths) : symbols_(lengths.size()) {
        for (auto length : lengths) ++counts_[length];
        counts_[0] = 0;
        int left = 1;
        for (std::size_t length = 1; length <= longest; ++length) {
            left = 2 * left - counts_[length];
            if (left < 0) damaged("a code that is none");
        }
        std::array<int, longest + 2> next{};
        for (std::size_t length = 1; length <= longest; ++length) next[length + 1] = next[length] + counts_[length];
        for (std::size_t symbol = 0; symbol < lengths.size(); ++symbol) {
            if (lengths[symbol] != 0)
                symbols_[static_cast<std::size_t>(next[lengths[symbol]]++)] = static_cast<int>(symbol);
        }
    }

    int decode(Bits& bits) const {
        int code = 0, first = 0, index = 0;
        for (std::size_t length = 1; length <= longest; ++length) {
            code |= static_cast<int>(bits.take(1));
            int count = counts_[length];
            if (code - count < first) return symbols_[static_cast<std::size_t>(index + code - first)];
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        damaged("a code that is none");
    }

private:
    static constexpr std::size_t longest = 15;
    std::array<int, longest + 1> counts_{};
    std::vector<int> symbols_;
};

constexpr std::array<int, 29> length_base = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                             31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr std::array<int, 29> length_bits = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                             2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr std::array<int, 30> distance_base = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                               33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                               1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr std::array<int, 30> distance_bits = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                               6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

void copy_stored(Bits& bits, Bytes& out, std::size_t most) {
    bits.to_byte();
    unsigned size = bits.take(16), inverse = bits.take(16);
    if ((size ^ inverse) != 0xFFFF) damaged("a length that is none");
    for (; size > 0 && out.size() < most; --size) out.push_back(static_cast<std::uint8_t>(bits.take(8)));
}

void inflate_block(Bits& bits, const Huffman& literals, const Huffman& distances, Bytes& out, std::size_t most) {
    while (out.size() < most) {
        int symbol = literals.decode(bits);
        if (symbol == 256) return;
        if (symbol < 256) {
            out.push_back(static_cast<std::uint8_t>(symbol));
            continue;
        }
        auto kind = static_cast<std::size_t>(symbol - 257);
        if (kind >= length_base.size()) damaged("a length that is none");
        std::size_t length = static_cast<std::size_t>(length_base[kind]) + bits.take(length_bits[kind]);
        auto far = static_cast<std::size_t>(distances.decode(bits));
        if (far >= distance_base.size()) damaged("a distance that is none");
        std::size_t distance = static_cast<std::size_t>(distance_base[far]) + bits.take(distance_bits[far]);
        if (distance > out.size()) damaged("a distance before their beginning");
        for (; length > 0 && out.size() < most; --length) out.push_back(out[out.size() - distance]);
    }
}

void inflate_dynamic(Bits& bits, Bytes& out, std::size_t most) {
    constexpr std::array<std::size_t, 19> order = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    std::size_t literals = bits.take(5) + 257, distances = bits.take(5) + 1, codes = bits.take(4) + 4;
    std::array<std::uint8_t, 19> code_lengths{};
    for (std::size_t place = 0; place < codes; ++place)
        code_lengths[order[place]] = static_cast<std::uint8_t>(bits.take(3));
    Huffman code(code_lengths);
    std::vector<std::uint8_t> lengths;
    while (lengths.size() < literals + distances) {
        int symbol = code.decode(bits);
        if (symbol < 16) {
            lengths.push_back(static_cast<std::uint8_t>(symbol));
            continue;
        }
        if (symbol == 16 && lengths.empty()) damaged("a repetition of nothing");
        std::uint8_t repeated = symbol == 16 ? lengths.back() : std::uint8_t{0};
        std::size_t times = symbol == 16 ? 3 + bits.take(2) : symbol == 17 ? 3 + bits.take(3) : 11 + bits.take(7);
        lengths.insert(lengths.end(), times, repeated);
    }
    if (lengths.size() != literals + distances) damaged("a repetition beyond the end");
    std::span<const std::uint8_t> all(lengths);
    inflate_block(bits, Huffman(all.first(literals)), Huffman(all.subspan(literals)), out, most);
}

void inflate_fixed(Bits& bits, Bytes& out, std::size_t most) {
    std::array<std::uint8_t, 288> literals{};
    std::fill_n(literals.begin(), 144, std::uint8_t{8});
    std::fill_n(literals.begin() + 144, 112, std::uint8_t{9});
    std::fill_n(literals.begin() + 256, 24, std::uint8_t{7});
    std::fill_n(literals.begin() + 280, 8, std::uint8_t{8});
    std::array<std::uint8_t, 30> distances{};
    distances.fill(5);
    inflate_block(bits, Huffman(literals), Huffman(distances), out, most);
}

}  // namespace

Bytes inflate_zlib(std::span<const std::uint8_t> data, std::size_t most) {
    if (data.size() < 2 || (data[0] & 0x0F) != 8 || (data[0] * 256 + data[1]) % 31 != 0 || (data[1] & 0x20) != 0) {
        damaged("no zlib data");
    }
    Bits bits(data.subspan(2));
    Bytes out;
    out.reserve(std::min(most, std::size_t{1} << 24));
    bool last = false;
    while (!last && out.size() < most) {
        last = bits.take(1) != 0;
        switch (bits.take(2)) {
            case 0:
                copy_stored(bits, out, most);
                break;
            case 1:
                inflate_fixed(bits, out, most);
                break;
            case 2:
                inflate_dynamic(bits, out, most);
                break;
            default:
                damaged("a block that is none");
        }
    }
    return out;
}

// Codes of 9 to 12 bits, the highest first; 256 empties the table, 257 ends; it grows one code early.
Bytes expand_lzw(std::span<const std::uint8_t> data, std::size_t most) {
    constexpr unsigned clear = 256, end = 257, full = 4096;
    struct Entry {
        std::uint16_t before;
        std::uint8_t letter;
        std::uint16_t length;
    };
    std::array<Entry, full> table{};
    for (std::size_t letter = 0; letter < 256; ++letter) table[letter] = {0, static_cast<std::uint8_t>(letter), 1};
    Bytes out;
    out.reserve(std::min(most, std::size_t{1} << 24));
    unsigned next = end + 1, width = 9, previous = clear;
    std::uint32_t buffer = 0;
    unsigned held = 0;
    for (std::size_t at = 0; out.size() < most;) {
        while (held < width) {
            if (at == data.size()) return out;  // some writers leave the end out
            buffer = buffer << 8 | data[at++];
            held += 8;
        }
        unsigned code = buffer >> (held - width) & ((1U << width) - 1);
        held -= width;
        if (code == end) break;
        if (code == clear) {
            next = end + 1, width = 9, previous = clear;
            continue;
        }
        if (code > next || (code == next && previous == clear) || (code >= clear && code <= end))
            damaged("a code that is none");
        bool repeated = code == next;
        unsigned source = repeated ? previous : code;
        std::size_t length = table[source].length, start = out.size();
        out.resize(start + length);
        for (unsigned walk = source; length > 0; walk = table[walk].before) out[start + --length] = table[walk].letter;
        if (repeated) out.push_back(out[start]);
        if (previous != clear && next < full) {
            table[next] = {static_cast<std::uint16_t>(previous), out[start],
                           static_cast<std::uint16_t>(table[previous].length + 1)};
            ++next;
        }
        if (next + 1 >= (1U << width) && width < 12) ++width;
        previous = code;
    }
    out.resize(std::min(out.size(), most));
    return out;
}

Bytes expand_packbits(std::span<const std::uint8_t> data, std::size_t most) {
    Bytes out;
    for (std::size_t at = 0; at < data.size() && out.size() < most;) {
        auto head = static_cast<std::int8_t>(data[at++]);
        if (head >= 0) {
            std::size_t count = std::min<std::size_t>(static_cast<std::size_t>(head) + 1, data.size() - at);
            out.insert(out.end(), data.begin() + static_cast<std::ptrdiff_t>(at),
                       data.begin() + static_cast<std::ptrdiff_t>(at + count));
            at += count;
        } else if (head != -128 && at < data.size()) {
            out.insert(out.end(), static_cast<std::size_t>(1 - head), data[at++]);
        }
    }
    out.resize(std::min(out.size(), most));
    return out;
}

}  // namespace unetkit
