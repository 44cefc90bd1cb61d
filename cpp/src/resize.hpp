// Planes brought to another size, bilinear between the four nearest pixels, as in unetkit/data/resize.py.
#pragma once

#include <vector>

namespace unetkit {

struct Size {
    int height, width;
};

// Where the pixels of one size lie in another: squares whose corners meet, or TensorFlow 1's source = target * scale.
enum class Places { half_pixel, asymmetric };

// Return planes [count, to.height, to.width] for planes [count, from.height, from.width].
std::vector<float> resized(const std::vector<float>& planes, Size from, Size to, Places places);

}  // namespace unetkit
