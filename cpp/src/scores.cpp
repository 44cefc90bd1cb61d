#include "scores.hpp"

#include <algorithm>

#include "error.hpp"

namespace unetkit {

std::vector<int> labels_of(const Page& mask, int classes) {
    if (mask.channels != 1) throw Error("has colours; a mask of class indices, or of 0 and 255, was expected");
    float white = 1;
    for (float candidate : {255.0F, 65535.0F}) {
        if (classes == 2 && white == 1 && std::ranges::find(mask.values, candidate) != mask.values.end())
            white = candidate;
    }
    std::vector<int> result(mask.values.size());
    std::ranges::transform(mask.values, result.begin(), [&](float value) {
        float index = value / white;
        if (!(index >= 0 && index < static_cast<float>(classes) &&
              index == static_cast<float>(static_cast<int>(index)))) {
            throw Error("holds the value " + std::to_string(value) +
                        ", which means no class; expected 0 and 255, or indices from 0 to " +
                        std::to_string(classes - 1));
        }
        return static_cast<int>(index);
    });
    return result;
}

double soft_dice(const std::vector<float>& probabilities, const std::vector<int>& labels) {
    double overlap = 0, squares = 0;
    for (std::size_t pixel = 0; pixel < labels.size(); ++pixel)
        overlap += probabilities[static_cast<std::size_t>(labels[pixel]) * labels.size() + pixel];
    for (float value : probabilities) squares += static_cast<double>(value) * value;
    return 2 * overlap / (squares + static_cast<double>(labels.size()) + 1e-6);
}

}  // namespace unetkit
