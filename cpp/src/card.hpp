// What an exported file says of itself: unetkit's card, JSON that `unetkit export` puts into every file.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "resize.hpp"
#include "tiles.hpp"

namespace unetkit {

struct Card {
    std::vector<std::string> classes;
    std::vector<float> mean, std;
    int context = 0;  // slices of a stack on each side of a slice that are seen with it, as further channels
    bool preprocessing = false, eight_bit = false, channels_last = false, channels_last_output = false;
    enum class Output { logits, softmax, argmax } output = Output::logits;
    std::optional<int> batch;
    Geometry geometry;
    bool border = false;  // the last class is the border of objects, which the data does not have
    Tiling tiling;        // as the run was configured
    std::vector<float> thresholds;  // of every class of the data but the first; empty: the most probable class
    bool tta = false;
    std::optional<float> temperature;  // logits are divided by it where probabilities are to be calibrated
    bool calibrate = false;
    std::set<std::string> held_out;  // names of the images that were held out of the training
    std::optional<Size> resized;  // what an image is brought to for the network, and its prediction back from
    Places places = Places::half_pixel;
    bool zeros_outside = false;  // else the image is mirrored
    bool close_gaps = false;     // which only unetkit in Python does

    // Read a card; throws Error where it is none, or one of a later version.
    static Card parse(const std::string& text);
};

}  // namespace unetkit
