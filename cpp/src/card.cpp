#include "card.hpp"

#include <algorithm>

#include "error.hpp"
#include "json.hpp"

namespace unetkit {

namespace {

constexpr int known_version = 1;
constexpr double kept_by_the_allocator = 1.5;  // as in unetkit/prediction/predictor.py

std::optional<int> whole(const Json& value) { return value.is_null() ? std::nullopt : std::optional(value.integer()); }

bool truth(const Json& value) { return !value.is_null() && value.boolean(); }

std::optional<Size> size_of(const Json& value) {
    if (value.is_null()) return std::nullopt;
    Size size{value.list().at(0).integer(), value.list().at(1).integer()};
    if (size.height < 1 || size.width < 1) throw Error("it resizes images to nothing");
    return size;
}

// Tell which of two names a key has; nothing is the first.
bool is_second(const Json& value, const char* first, const char* second) {
    if (value.is_null() || value.text() == first) return false;
    if (value.text() != second) throw Error("it has " + value.text() + " where " + first + " or " + second + " is known");
    return true;
}

std::vector<float> floats(const Json& value) {
    std::vector<float> result;
    for (const Json& item : value.list()) result.push_back(static_cast<float>(item.number()));
    return result;
}

Geometry geometry_of(const Json& value, const Json& size) {
    Geometry result{value["multiple"].integer(), value["offset"].integer(), value["margin"].integer(),
                    whole(value["halo"]),        whole(value["disturbed"]), std::nullopt};
    if (!size.is_null()) result.fixed = {size.list().at(0).integer(), size.list().at(1).integer()};
    if (result.multiple < 1 || result.margin < 0 || result.offset < 0) throw Error("its geometry is none");
    return result;
}

Card::Output output_of(const std::string& name) {
    if (name == "logits") return Card::Output::logits;
    if (name == "softmax") return Card::Output::softmax;
    if (name == "argmax") return Card::Output::argmax;
    throw Error("its output is called " + name);
}

Card read(const Json& json) {
    if (json["version"].integer() != known_version)
        throw Error("it has version " + std::to_string(json["version"].integer()));
    Card card;
    for (const Json& name : json["classes"].list()) card.classes.push_back(name.text());
    card.mean = floats(json["mean"]);
    card.std = floats(json["std"]);
    card.preprocessing = truth(json["preprocessing"]);
    card.eight_bit = json["input"].text() == "uint8";
    card.channels_last = json["layout"].text() == "nhwc";
    card.channels_last_output = json["layout"].text().ends_with("nhwc");
    card.output = output_of(json["output"].text());
    card.batch = whole(json["batch"]);
    card.border = truth(json["border"]);
    card.geometry = geometry_of(json["geometry"], json["size"]);
    const Json& predict = json["predict"];
    card.tiling.tile = whole(predict["tile"]).value_or(0);
    card.tiling.overlap = whole(predict["overlap"]);
    card.tiling.memory = predict["memory"].number();
    card.tiling.classes = static_cast<int>(card.classes.size());
    double answer = 4.0 * card.tiling.classes, input = 4.0 * static_cast<double>(card.mean.size());
    double network = json["bytes_per_pixel"].is_null() ? input : json["bytes_per_pixel"].number();
    card.tiling.bytes_per_pixel = (answer + input + std::max(network, 2 * answer)) * kept_by_the_allocator;
    card.tta = truth(predict["tta"]);
    card.resized = size_of(predict["size"]);
    if (is_second(predict["resize"], "half-pixel", "asymmetric")) card.places = Places::asymmetric;
    card.zeros_outside = is_second(predict["outside"], "mirror", "zeros");
    card.close_gaps = truth(predict["close_gaps"]);
    if (card.classes.size() < 2 || card.mean.empty() || card.mean.size() != card.std.size() ||
        !(card.tiling.bytes_per_pixel > 0))
        throw Error("its classes or its normalisation are none");
    return card;
}

}  // namespace

Card Card::parse(const std::string& text) {
    try {
        return read(Json::parse(text));
    } catch (const Error& error) {
        throw Error(std::string("its card is damaged or of another version of unetkit (") + error.what() +
                    "); export it again");
    } catch (const std::out_of_range&) {
        throw Error("its card is damaged; export it again");
    }
}

}  // namespace unetkit
