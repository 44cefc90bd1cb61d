// Dice and IoU as the older systems' evaluation printed them, on probabilities at the images' own size.
#pragma once

#include <vector>

#include "images.hpp"

namespace unetkit {

// Class indices of a mask: 0 and 255 (or 65535) where there are two classes, indices otherwise; throws Error for
// others.
std::vector<int> labels_of(const Page& mask, int classes);

// 2 sum(p y) / (sum(p^2) + sum(y^2) + 1e-6) over all classes and pixels: unetkit's soft_dice_two_class.
double soft_dice(const std::vector<float>& probabilities, const std::vector<int>& labels);

inline double iou_of(double dice) { return dice / (2 - dice); }

}  // namespace unetkit
