// JSON as far as a network's card uses it: read, never written. Numbers are doubles.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace unetkit {

class Json {
public:
    using List = std::vector<Json>;
    using Map = std::map<std::string, Json, std::less<>>;

    Json() = default;

    // Read a text; throws Error where it is none.
    static Json parse(std::string_view text);

    bool is_null() const { return std::holds_alternative<std::monostate>(value_); }

    // Return what is stored; throws Error where it is of another kind.
    bool boolean() const;
    double number() const;
    int integer() const;
    const std::string& text() const;
    const List& list() const;
    const Map& map() const;

    // Return the value under a key, or null where there is none.
    const Json& operator[](std::string_view key) const;

private:
    friend class JsonReader;
    std::variant<std::monostate, bool, double, std::string, std::shared_ptr<List>, std::shared_ptr<Map>> value_;
};

}  // namespace unetkit
