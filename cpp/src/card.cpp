#include "card.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "error.hpp"

namespace unetkit {

namespace {

using Json = nlohmann::json;

constexpr int known_version = 1;
constexpr double kept_by_the_allocator = 1.5;  // as in unetkit/prediction/predictor.py

int whole(const Json& value) {
    auto number = value.get<double>();
    if (number != std::floor(number) || std::abs(number) > 1e9) throw Error("a value in it is no whole number");
    return static_cast<int>(number);
}

// Of doubles, because nlohmann takes true for a float.
std::vector<float> floats(const Json& value) {
    auto numbers = value.get<std::vector<double>>();
    return {numbers.begin(), numbers.end()};
}

// Return what lies under a key; nothing where it is missing or null. Nothing is copied: copies of nested lists recurse.
const Json* find(const Json& table, const char* key) {
    auto found = table.find(key);
    return found == table.end() || found->is_null() ? nullptr : &*found;
}

std::optional<int> whole(const Json* value) { return value == nullptr ? std::nullopt : std::optional(whole(*value)); }

// Tell which of two names a key has; nothing is the first.
bool is_second(const Json* value, const std::string& first, const std::string& second) {
    auto name = value == nullptr ? first : value->get<std::string>();
    if (name != first && name != second)
        throw Error("it has " + name + " where " + first + " or " + second + " is known");
    return name == second;
}

Geometry geometry_of(const Json& value) {
    Geometry result{whole(value.at("multiple")), whole(value.at("offset")),       whole(value.at("margin")),
                    whole(find(value, "halo")),  whole(find(value, "disturbed")), std::nullopt};
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
    if (int version = whole(json.at("version")); version != known_version)
        throw Error("it has version " + std::to_string(version));
    Card card;
    json.at("classes").get_to(card.classes);
    card.mean = floats(json.at("mean"));
    card.std = floats(json.at("std"));
    card.context = whole(find(json, "context")).value_or(0);
    if (card.context < 0 || card.mean.size() % (2 * static_cast<std::size_t>(card.context) + 1) != 0)
        throw Error("its channels are not those of the slices that it sees together");
    card.preprocessing = json.value("preprocessing", false);
    card.eight_bit = json.at("input") == "uint8";
    auto layout = json.at("layout").get<std::string>();
    card.channels_last = layout == "nhwc";
    card.channels_last_output = layout.ends_with("nhwc");
    card.output = output_of(json.at("output").get<std::string>());
    card.batch = whole(find(json, "batch"));
    card.border = json.value("border", false);
    card.geometry = geometry_of(json.at("geometry"));
    if (const Json* size = find(json, "size")) card.geometry.fixed = {whole(size->at(0)), whole(size->at(1))};
    const Json& predict = json.at("predict");
    card.tiling.tile = whole(find(predict, "tile")).value_or(0);
    card.tiling.overlap = whole(find(predict, "overlap"));
    predict.at("memory").get_to(card.tiling.memory);
    card.tiling.classes = static_cast<int>(card.classes.size());
    double answer = 4.0 * card.tiling.classes, input = 4.0 * static_cast<double>(card.mean.size());
    const Json* known = find(json, "bytes_per_pixel");
    double network = known == nullptr ? input : known->get<double>();
    card.tiling.bytes_per_pixel = (answer + input + std::max(network, 2 * answer)) * kept_by_the_allocator;
    if (const Json* threshold = find(predict, "threshold")) {
        for (std::size_t k = 1; k + (card.border ? 1 : 0) < card.classes.size(); ++k)
            card.thresholds.push_back(threshold->is_object() ? threshold->value(card.classes[k], 0.5F)
                                                             : threshold->get<float>());
    }
    card.tta = predict.value("tta", false);
    card.calibrate = predict.value("calibrate", false);
    if (const Json* value = find(json, "temperature")) card.temperature = static_cast<float>(value->get<double>());
    if (card.temperature && !(*card.temperature > 0)) throw Error("its temperature is none");
    if (const Json* names = find(json, "held_out")) names->get_to(card.held_out);
    if (const Json* size = find(predict, "size")) card.resized = {whole(size->at(0)), whole(size->at(1))};
    if (is_second(find(predict, "resize"), "half-pixel", "asymmetric")) card.places = Places::asymmetric;
    card.zeros_outside = is_second(find(predict, "outside"), "mirror", "zeros");
    card.close_gaps = predict.value("close_gaps", false);
    if (card.resized && (card.resized->height < 1 || card.resized->width < 1))
        throw Error("it resizes images to nothing");
    if (card.classes.size() < 2 || card.mean.empty() || card.mean.size() != card.std.size() ||
        !(card.tiling.bytes_per_pixel > 0))
        throw Error("its classes or its normalisation are none");
    return card;
}

}  // namespace

Card Card::parse(const std::string& text) {
    std::string reason;
    try {
        return read(Json::parse(text));
    } catch (const Error& error) {
        reason = error.what();
    } catch (const Json::parse_error& error) {  // whose own words repeat the text
        reason = "it is no JSON at byte " + std::to_string(error.byte);
    } catch (const Json::exception& error) {
        reason = error.what();
        reason.erase(0, reason.find("] ") + 2);  // the name of the exception
    }
    throw Error("its card is damaged or of another version of unetkit (" + reason + "); export it again");
}

}  // namespace unetkit
