#include "resize.hpp"

#include <algorithm>
#include <cstddef>

namespace unetkit {

namespace {

// A pixel of an axis of the result: between which two it lies, and how near to the second.
struct Place {
    std::size_t low, high;
    float weight;
};

std::vector<Place> places_on(int length, int side, Places kind) {
    std::vector<Place> result;
    float scale = static_cast<float>(length) / static_cast<float>(side), last = static_cast<float>(length - 1);
    for (int target = 0; target < side; ++target) {
        auto at = static_cast<float>(target);
        float place = std::clamp(kind == Places::half_pixel ? (at + 0.5F) * scale - 0.5F : at * scale, 0.0F, last);
        auto low = static_cast<std::size_t>(place);
        result.push_back(
            {low, std::min(low + 1, static_cast<std::size_t>(length - 1)), place - static_cast<float>(low)});
    }
    return result;
}

// As torch.lerp, which is exact at both ends.
float between(float low, float high, float weight) {
    return weight < 0.5F ? low + weight * (high - low) : high - (high - low) * (1 - weight);
}

}  // namespace

std::vector<float> resized(const std::vector<float>& planes, Size from, Size to, Places places) {
    auto rows = places_on(from.height, to.height, places), columns = places_on(from.width, to.width, places);
    std::size_t width = static_cast<std::size_t>(from.width), area = static_cast<std::size_t>(from.height) * width;
    std::vector<float> result;
    result.reserve(planes.size() / area * rows.size() * columns.size());
    for (const float* plane = planes.data(); plane != planes.data() + planes.size(); plane += area) {
        for (const Place& row : rows) {
            const float *low = plane + row.low * width, *high = plane + row.high * width;
            for (const Place& column : columns) {
                float left = between(low[column.low], high[column.low], row.weight),
                      right = between(low[column.high], high[column.high], row.weight);
                result.push_back(between(left, right, column.weight));
            }
        }
    }
    return result;
}

}  // namespace unetkit
