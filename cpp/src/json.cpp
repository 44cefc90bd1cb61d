#include "json.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>

#include "error.hpp"

namespace unetkit {

namespace {

constexpr int deepest = 64;

template <typename T>
const T& as(const auto& value, const char* kind) {
    const T* found = std::get_if<T>(&value);
    if (found == nullptr) throw Error(std::string("a value in it is no ") + kind);
    return *found;
}

void append_utf8(std::string& text, std::uint32_t code) {
    if (code < 0x80) {
        text += static_cast<char>(code);
    } else if (code < 0x800) {
        text += static_cast<char>(0xC0 | code >> 6);
        text += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        text += static_cast<char>(0xE0 | code >> 12);
        text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        text += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        text += static_cast<char>(0xF0 | code >> 18);
        text += static_cast<char>(0x80 | (code >> 12 & 0x3F));
        text += static_cast<char>(0x80 | (code >> 6 & 0x3F));
        text += static_cast<char>(0x80 | (code & 0x3F));
    }
}

}  // namespace

class JsonReader {
public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    Json whole() {
        Json result = value(0);
        skip_space();
        if (at_ != text_.size()) fail();
        return result;
    }

private:
    [[noreturn]] void fail() const { throw Error("it is no JSON at byte " + std::to_string(at_)); }

    void skip_space() {
        while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
    }

    char peek() {
        skip_space();
        if (at_ == text_.size()) fail();
        return text_[at_];
    }

    void take(char wanted) {
        if (peek() != wanted) fail();
        ++at_;
    }

    bool take_word(std::string_view word) {
        if (text_.substr(at_, word.size()) != word) return false;
        at_ += word.size();
        return true;
    }

    Json value(int depth) {
        if (depth > deepest) fail();
        Json result;
        switch (peek()) {
            case '{':
                result.value_ = map(depth);
                break;
            case '[':
                result.value_ = list(depth);
                break;
            case '"':
                result.value_ = string();
                break;
            case 't':
                take_word("true") ? void(result.value_ = true) : fail();
                break;
            case 'f':
                take_word("false") ? void(result.value_ = false) : fail();
                break;
            case 'n':
                if (!take_word("null")) fail();
                break;
            default:
                result.value_ = number();
        }
        return result;
    }

    std::shared_ptr<Json::Map> map(int depth) {
        auto result = std::make_shared<Json::Map>();
        take('{');
        while (peek() != '}') {
            if (!result->empty()) take(',');
            if (peek() != '"') fail();
            std::string key = string();
            take(':');
            (*result)[std::move(key)] = value(depth + 1);
        }
        take('}');
        return result;
    }

    std::shared_ptr<Json::List> list(int depth) {
        auto result = std::make_shared<Json::List>();
        take('[');
        while (peek() != ']') {
            if (!result->empty()) take(',');
            result->push_back(value(depth + 1));
        }
        take(']');
        return result;
    }

    double number() {
        double result = 0;
        const char* begin = text_.data() + at_;
        auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), result);
        if (error != std::errc() || end == begin) fail();
        at_ += static_cast<std::size_t>(end - begin);
        return result;
    }

    std::string string() {
        std::string result;
        take('"');
        while (true) {
            if (at_ == text_.size()) fail();
            char letter = text_[at_++];
            if (letter == '"') return result;
            if (letter == '\\') {
                escape(result);
            } else {
                result += letter;
            }
        }
    }

    void escape(std::string& result) {
        if (at_ == text_.size()) fail();
        char kind = text_[at_++];
        constexpr std::string_view names = "\"\\/bfnrt", letters = "\"\\/\b\f\n\r\t";
        if (auto place = names.find(kind); place != std::string_view::npos) {
            result += letters[place];
        } else if (kind == 'u') {
            std::uint32_t code = hexadecimal();
            if (code >= 0xD800 && code < 0xDC00 && take_word("\\u"))
                code = 0x10000 + ((code - 0xD800) << 10) + (hexadecimal() - 0xDC00);
            append_utf8(result, code & 0x1FFFFF);
        } else {
            fail();
        }
    }

    std::uint32_t hexadecimal() {
        std::uint32_t code = 0;
        if (at_ + 4 > text_.size()) fail();
        const char* begin = text_.data() + at_;
        auto [end, error] = std::from_chars(begin, begin + 4, code, 16);
        if (error != std::errc() || end != begin + 4) fail();
        at_ += 4;
        return code;
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

Json Json::parse(std::string_view text) { return JsonReader(text).whole(); }

bool Json::boolean() const { return as<bool>(value_, "true or false"); }
double Json::number() const { return as<double>(value_, "number"); }
const std::string& Json::text() const { return as<std::string>(value_, "text"); }
const Json::List& Json::list() const { return *as<std::shared_ptr<List>>(value_, "list"); }
const Json::Map& Json::map() const { return *as<std::shared_ptr<Map>>(value_, "table"); }

int Json::integer() const {
    double value = number();
    if (value != std::floor(value) || std::abs(value) > 1e9) throw Error("a value in it is no whole number");
    return static_cast<int>(value);
}

const Json& Json::operator[](std::string_view key) const {
    static const Json nothing;
    auto found = map().find(key);
    return found == map().end() ? nothing : found->second;
}

}  // namespace unetkit
