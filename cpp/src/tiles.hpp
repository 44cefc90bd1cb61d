// Where an image is cut, what the network is given for each piece, and how pieces are joined: integers and weights
// only.
//
// The same rules, in the same words, as unetkit/prediction/tiles.py and plan.py, which say why; a tile gives the same
// numbers here and there.
#pragma once

#include <optional>
#include <utility>
#include <vector>

namespace unetkit {

struct Geometry {
    int multiple = 1, offset = 0, margin = 0;
    std::optional<int> halo, disturbed;
    std::optional<std::pair<int, int>> fixed;  // the only height and width that go in

    std::optional<int> overlap() const;
    int padded_size(int size) const;
    int fitting_input_size(int size) const { return padded_size(size + 2 * margin); }
};

// One piece of an axis: its own pixels from `low` to `high`, blended on `rise` and `fall` pixels around its ends.
struct Span {
    int low = 0, high = 0, rise = 0, fall = 0;

    int begin() const { return low - rise; }
    int end() const { return high + fall; }
    std::vector<float> weights() const;
};

// What the network is given along one axis: pixels from `start` to `stop`; it answers for those from `first` on.
struct Window {
    int start = 0, stop = 0, first = 0;
};

struct Grid {
    Geometry geometry;
    int context = 0;

    int window_side(int side) const { return geometry.margin != 0 ? geometry.fitting_input_size(side) : side; }
    int answered_side(int window) const;
    Window window(int low, int high, int length) const;
};

// What the user asks for: 0 tile: as large as `memory` gigabytes allow.
struct Tiling {
    int tile = 0;
    std::optional<int> overlap;
    double memory = 0.8, bytes_per_pixel = 0;
    int classes = 2;
};

struct Plan {
    std::vector<Span> rows, columns;
    Grid grid;
    bool blended = false;
};

Plan make_plan(int height, int width, const Geometry& geometry, const Tiling& tiling);

// The place in an axis of what lies at `position`, mirrored at the borders as often as needed.
int mirrored(int position, int length);

}  // namespace unetkit
