#include "tiles.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

namespace unetkit {

namespace {

constexpr int context_of_whole_image_norms = 64;

// Division that rounds downwards, as Python's does.
int floor_div(int a, int b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
int align_down(int position, int multiple) { return floor_div(position, multiple) * multiple; }
int align_up(int position, int multiple) { return -floor_div(-position, multiple) * multiple; }
int modulo(int a, int b) { return a - floor_div(a, b) * b; }

// A rise from 0 to 1 whose reverse is what is missing to 1.
std::vector<float> ramp(int width) {
    std::vector<float> result(static_cast<std::size_t>(width));
    for (int at = 0; at < width; ++at)
        result[static_cast<std::size_t>(at)] =
            static_cast<float>((1 - std::cos(std::numbers::pi * ((at + 0.5) / width))) / 2);
    return result;
}

int count_spans(int length, int tile, const Grid& grid) {
    int side = grid.answered_side(tile);
    if (grid.window_side(length) <= tile || length <= side) return 1;
    return 1 - floor_div(-align_up(length - side, grid.geometry.multiple), side - 2 * grid.context);
}

int side_for(int length, int count, const Grid& grid) {
    if (count == 1) return length;
    return align_up(-floor_div(-(length + 2 * (count - 1) * grid.context), count), grid.geometry.multiple);
}

std::vector<Span> divide(int length, int tile, const Grid& grid, bool blend, bool full) {
    int count = count_spans(length, tile, grid);
    if (count == 1) return {Span{0, length, 0, 0}};
    int multiple = grid.geometry.multiple;
    int side = full ? grid.answered_side(tile) : side_for(length, count, grid);
    std::int64_t last = align_up(length - side, multiple) / multiple;
    std::vector<int> cuts = {0};
    for (int number = 1; number < count; ++number)
        cuts.push_back(multiple * static_cast<int>(number * last / (count - 1)) + grid.context);
    cuts.push_back(length);
    std::vector<Span> spans;
    int rise = 0;
    for (std::size_t number = 0; number + 1 < cuts.size(); ++number) {
        int own = cuts[number + 1] - cuts[number];
        bool inner = number + 2 < cuts.size();
        int fall = inner && blend ? std::min({grid.context, own / 2, (cuts[number + 2] - cuts[number + 1]) / 2}) : 0;
        spans.push_back({cuts[number], cuts[number + 1], rise, fall});
        rise = fall;
    }
    return spans;
}

// The length of all windows of an axis together, roughly.
double computed(int length, int spans, const Grid& grid) {
    return length + 2.0 * (spans - 1) * grid.context + 2.0 * spans * grid.geometry.margin;
}

int most_context(int answered, const Geometry& geometry) {
    return align_down(floor_div(answered * 3, 8), geometry.multiple);
}

int context_for(const Geometry& geometry, const Tiling& tiling) {
    if (tiling.overlap) return align_up(*tiling.overlap, geometry.multiple);
    int wanted = geometry.overlap().value_or(align_up(context_of_whole_image_norms, geometry.multiple));
    if (geometry.fixed) {
        int smaller = std::min(geometry.fixed->first, geometry.fixed->second);
        return std::min(wanted, most_context(Grid{geometry, 0}.answered_side(smaller), geometry));
    }
    if (tiling.tile == 0) return wanted;
    return std::min(wanted, std::max(geometry.multiple, most_context(tiling.tile - 2 * geometry.margin, geometry)));
}

// Height and width of the tiles that fit the memory and compute the fewest pixels.
std::pair<int, int> affordable(int height, int width, const Grid& grid, const Tiling& tiling, bool blend) {
    double pixels = tiling.memory * 1e9 / tiling.bytes_per_pixel;
    double blended = blend ? 2.0 * 4 * tiling.classes / tiling.bytes_per_pixel : 0;
    int tall = grid.window_side(height), wide = grid.window_side(width);
    if (static_cast<double>(tall) * wide <= pixels) return {tall, wide};
    int smallest = grid.window_side(2 * grid.context + grid.geometry.multiple);
    std::pair<int, int> best = {smallest, smallest};
    double fewest = std::numeric_limits<double>::infinity();
    for (int rows = 1;; ++rows) {
        tall = grid.window_side(side_for(height, rows, grid));
        double left = pixels - blended * tall * width;
        wide = static_cast<int>(std::min<double>(std::trunc(left / tall), grid.window_side(width)));
        if (wide >= std::min(smallest, grid.window_side(width))) {
            int columns = count_spans(width, wide, grid);
            double cost = computed(height, rows, grid) * computed(width, columns, grid);
            if (cost < fewest) best = {tall, wide}, fewest = cost;
        }
        if (tall <= smallest) return best;
    }
}

}  // namespace

std::optional<int> Geometry::overlap() const {
    if (!halo) return std::nullopt;
    return align_up(disturbed.value_or(std::max(0, *halo - margin)), multiple);
}

int Geometry::padded_size(int size) const { return size + modulo(offset - size, multiple); }

std::vector<float> Span::weights() const {
    std::vector<float> result(static_cast<std::size_t>(end() - begin()), 1.0F);
    auto up = ramp(2 * rise), down = ramp(2 * fall);
    std::copy(up.begin(), up.end(), result.begin());
    for (std::size_t at = 0; at < down.size(); ++at) result[result.size() - down.size() + at] = 1 - down[at];
    return result;
}

int Grid::answered_side(int window) const {
    int multiple = geometry.multiple;
    int answered = align_down(window - geometry.offset, multiple) + geometry.offset - 2 * geometry.margin;
    return std::max(align_down(answered, multiple), 2 * context + multiple);
}

Window Grid::window(int low, int high, int length) const {
    int first = std::max(0, align_down(low - context, geometry.multiple));
    int last = std::min(length, align_up(high + context, geometry.multiple));
    int start = first - geometry.margin;
    return {start, start + window_side(last - first), first};
}

Plan make_plan(int height, int width, const Geometry& geometry, const Tiling& tiling) {
    Grid grid{geometry, context_for(geometry, tiling)};
    bool blend = !geometry.overlap() || grid.context < *geometry.overlap(), full = geometry.fixed.has_value();
    std::pair<int, int> tile = geometry.fixed     ? *geometry.fixed
                               : tiling.tile != 0 ? std::pair{tiling.tile, tiling.tile}
                                                  : affordable(height, width, grid, tiling, blend);
    Plan plan{divide(height, tile.first, grid, blend, full), divide(width, tile.second, grid, blend, full), grid,
              false};
    plan.blended = blend && (plan.rows.size() > 1 || plan.columns.size() > 1);
    return plan;
}

int mirrored(int position, int length) {
    if (length == 1) return 0;
    int folded = modulo(position, 2 * (length - 1));
    return std::min(folded, 2 * (length - 1) - folded);
}

}  // namespace unetkit
