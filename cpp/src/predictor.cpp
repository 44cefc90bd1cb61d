#include "predictor.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace unetkit {

namespace {

// One of the eight flips and turns: the axes are swapped, then mirrored.
struct Symmetry {
    bool swap, flip_rows, flip_columns;

    explicit Symmetry(int number)
        : swap((number & 4) != 0), flip_rows((number & 2) != 0), flip_columns((number & 1) != 0) {}

    // Where a pixel of the image is in what is shown, whose sides are given.
    std::pair<int, int> place(int row, int column, int height, int width) const {
        if (swap) std::swap(row, column);
        return {flip_rows ? height - 1 - row : row, flip_columns ? width - 1 - column : column};
    }

    // Which pixel of the image is shown at a place.
    std::pair<int, int> source(int row, int column, int height, int width) const {
        if (flip_rows) row = height - 1 - row;
        if (flip_columns) column = width - 1 - column;
        return swap ? std::pair{column, row} : std::pair{row, column};
    }
};

// The part of an axis that is shown, from a span's first to its last pixel.
struct Part {
    int low, high;
};

Part shown(int begin, int end, int length, bool flip) {
    return flip ? Part{length - end, length - begin} : Part{begin, end};
}

}  // namespace

Predictor::Predictor(std::unique_ptr<Network> network, const Wishes& wishes)
    : network_(std::move(network)), card_(Card::parse(network_->card())), tta_(wishes.tta || card_.tta) {
    if (wishes.tile) card_.tiling.tile = *wishes.tile;
    if (wishes.overlap) card_.tiling.overlap = wishes.overlap;
    if (card_.tiling.tile != 0 && card_.tiling.overlap && card_.tiling.tile <= 2 * *card_.tiling.overlap) {
        throw Error("an overlap of " + std::to_string(*card_.tiling.overlap) +
                    " on each side leaves nothing of a tile of " + std::to_string(card_.tiling.tile) +
                    "; give a larger tile or a smaller overlap");
    }
    if (wishes.calibrate || card_.calibrate) {
        if (!card_.temperature)
            throw Error("this network has no temperature to calibrate it with; a run gets one at the end of its "
                        "training, where images were held out");
        cooling_ = 1 / *card_.temperature;
    }
    if (tta_) card_.tiling.bytes_per_pixel += 1.5 * 4 * card_.tiling.classes;
}

std::vector<float> Predictor::probabilities(const Page& page) {
    int wanted = static_cast<int>(card_.mean.size()), slices = 2 * card_.context + 1;
    if (page.channels != wanted) {
        throw Error("has " + std::to_string(page.channels / slices) +
                    " channels, but the network was trained on images with " + std::to_string(wanted / slices) +
                    "; give images like those of the training");
    }
    std::vector<float> result;
    if (card_.resized) {
        Size own{page.height, page.width}, size = *card_.resized;
        Page small{page.channels, size.height, size.width, resized(page.values, own, size, card_.places)};
        result = resized(at_its_size(small), size, own, card_.places);
    } else {
        result = at_its_size(page);
    }
    if (card_.border) join_border(result, page.area());
    return result;
}

// Return the probabilities of all classes for a page that is not resized any more.
std::vector<float> Predictor::at_its_size(const Page& page) {
    Plan plan = make_plan(page.height, page.width, card_.geometry, card_.tiling);
    std::vector<float> result(card_.classes.size() * page.area());
    for (const Span& row : plan.rows) {
        for (const Span& column : plan.columns) add_tile(page, plan, row, column, result);
    }
    return result;
}

// Put the probabilities of a tile to their place, each with its share.
void Predictor::add_tile(const Page& page, const Plan& plan, const Span& row, const Span& column,
                         std::vector<float>& result) {
    int count = tta_ ? 8 : 1, classes = static_cast<int>(card_.classes.size());
    auto down = row.weights(), across = column.weights();
    for (int number = 0; number < count; ++number) {
        Symmetry symmetry(number);
        int height = symmetry.swap ? page.width : page.height, width = symmetry.swap ? page.height : page.width;
        const Span& first = symmetry.swap ? column : row;
        const Span& second = symmetry.swap ? row : column;
        Part own_rows = shown(first.low, first.high, height, symmetry.flip_rows),
             own_columns = shown(second.low, second.high, width, symmetry.flip_columns);
        Window rows = plan.grid.window(own_rows.low, own_rows.high, height),
               columns = plan.grid.window(own_columns.low, own_columns.high, width);
        Tensor answer = answered(given(page, number, rows, columns));
        auto answer_height = answer.shape[2], answer_width = answer.shape[3];
        for (int y = row.begin(); y < row.end(); ++y) {
            for (int x = column.begin(); x < column.end(); ++x) {
                auto [shown_y, shown_x] = symmetry.place(y, x, height, width);
                std::size_t place =
                    static_cast<std::size_t>((shown_y - rows.first) * answer_width + shown_x - columns.first);
                std::size_t target =
                    static_cast<std::size_t>(y) * static_cast<std::size_t>(page.width) + static_cast<std::size_t>(x);
                float share = down[static_cast<std::size_t>(y - row.begin())] *
                              across[static_cast<std::size_t>(x - column.begin())] / static_cast<float>(count);
                for (int k = 0; k < classes; ++k) {
                    result[static_cast<std::size_t>(k) * page.area() + target] +=
                        share * answer.values[static_cast<std::size_t>(k * answer_height * answer_width) + place];
                }
            }
        }
    }
}

// Return what the network is given: [1, C, H, W], normalised unless the file does that; outside the image it is
// mirrored, or zero.
Tensor Predictor::given(const Page& page, int number, const Window& rows, const Window& columns) const {
    Symmetry symmetry(number);
    int height = symmetry.swap ? page.width : page.height, width = symmetry.swap ? page.height : page.width;
    int tall = rows.stop - rows.start, wide = columns.stop - columns.start;
    Tensor images{{1, page.channels, tall, wide}, {}};
    images.values.reserve(static_cast<std::size_t>(page.channels) * static_cast<std::size_t>(tall) *
                          static_cast<std::size_t>(wide));
    for (int channel = 0; channel < page.channels; ++channel) {
        const float* plane = page.values.data() + static_cast<std::size_t>(channel) * page.area();
        float mean = card_.preprocessing ? 0 : card_.mean[static_cast<std::size_t>(channel)];
        float spread = card_.preprocessing ? 1 : card_.std[static_cast<std::size_t>(channel)];
        for (int row = rows.start; row < rows.stop; ++row) {
            for (int column = columns.start; column < columns.stop; ++column) {
                bool inside = row >= 0 && row < height && column >= 0 && column < width;
                if (card_.zeros_outside && !inside) {
                    images.values.push_back(0);
                    continue;
                }
                auto [y, x] = symmetry.source(mirrored(row, height), mirrored(column, width), height, width);
                images.values.push_back((plane[static_cast<std::size_t>(y) * static_cast<std::size_t>(page.width) +
                                               static_cast<std::size_t>(x)] -
                                         mean) /
                                        spread);
            }
        }
    }
    return images;
}

// Repeat the last row, column and image up to the size and number that a file of one size takes.
void Predictor::fill(Tensor& images) const {
    auto channels = images.shape[1], height = images.shape[2], width = images.shape[3];
    std::int64_t tall = card_.geometry.fixed ? card_.geometry.fixed->first : height,
                 wide = card_.geometry.fixed ? card_.geometry.fixed->second : width;
    std::int64_t count = card_.batch.value_or(1);
    if (count == 1 && tall == height && wide == width) return;
    if (tall < height || wide < width) throw Error("a tile is larger than the only size that the file takes");
    Tensor filled{{count, channels, tall, wide}, {}};
    for (std::int64_t image = 0; image < count; ++image) {
        for (std::int64_t channel = 0; channel < channels; ++channel) {
            for (std::int64_t row = 0; row < tall; ++row) {
                for (std::int64_t column = 0; column < wide; ++column) {
                    filled.values.push_back(images.values[static_cast<std::size_t>(
                        (channel * height + std::min(row, height - 1)) * width + std::min(column, width - 1))]);
                }
            }
        }
    }
    images = std::move(filled);
}

// Return the probabilities [1, K, h, w] for images [1, C, H, W], whatever the file itself takes and gives.
Tensor Predictor::answered(Tensor images) {
    fill(images);
    if (card_.eight_bit) {
        for (float& value : images.values) value = std::clamp(std::nearbyint(value), 0.0F, 255.0F);
    }
    if (card_.channels_last) {
        Tensor turned{{images.shape[0], images.shape[2], images.shape[3], images.shape[1]},
                      std::vector<float>(images.values.size())};
        auto channels = static_cast<std::size_t>(images.shape[1]),
             area = static_cast<std::size_t>(images.shape[2] * images.shape[3]);
        for (std::size_t at = 0; at < images.values.size(); ++at) {
            std::size_t image = at / (channels * area), channel = at / area % channels, pixel = at % area;
            turned.values[(image * area + pixel) * channels + channel] = images.values[at];
        }
        images = std::move(turned);
    }
    images.bytes = card_.eight_bit;
    Tensor output = network_->run(images);
    bool indices = card_.output == Card::Output::argmax;
    std::size_t classes = card_.classes.size(), axes = indices ? 3 : 4;
    if (output.shape.size() != axes)
        throw Error("the network gives something of " + std::to_string(output.shape.size()) +
                    " axes, which its card does not say");
    bool last = card_.channels_last_output && !indices;
    auto height = output.shape[indices || last ? 1 : 2], width = output.shape[indices || last ? 2 : 3];
    auto given = static_cast<std::size_t>(indices ? 1 : output.shape[last ? 3 : 1]),
         area = static_cast<std::size_t>(height * width);
    if (!indices && given != classes && !(given == 1 && classes == 2))
        throw Error("the network gives " + std::to_string(given) + " classes, and its card names " +
                    std::to_string(classes));
    Tensor result{{1, static_cast<std::int64_t>(classes), height, width}, std::vector<float>(classes * area)};
    std::vector<float> values(classes);
    for (std::size_t pixel = 0; pixel < area; ++pixel) {
        auto stored = [&](std::size_t k) { return output.values[last ? pixel * given + k : k * area + pixel]; };
        if (indices) {
            std::fill(values.begin(), values.end(), 0.0F);
            values.at(static_cast<std::size_t>(stored(0))) = 1;
        } else if (given == 1) {
            values[1] = 1 / (1 + std::exp(-stored(0) * cooling_));
            values[0] = 1 - values[1];
        } else {
            bool soft = card_.output == Card::Output::softmax;
            float total = 0, largest = stored(0);
            for (std::size_t k = 1; k < classes; ++k) largest = std::max(largest, stored(k));
            for (std::size_t k = 0; k < classes; ++k)
                total += values[k] = soft ? std::pow(stored(k) / largest, cooling_)
                                          : std::exp((stored(k) - largest) * cooling_);
            for (float& value : values) value /= total;
        }
        for (std::size_t k = 0; k < classes; ++k) result.values[k * area + pixel] = values[k];
    }
    return result;
}

// Give the border's probability to the most probable class of objects, and drop the border.
void Predictor::join_border(std::vector<float>& probabilities, std::size_t area) const {
    std::size_t border = card_.classes.size() - 1;
    for (std::size_t pixel = 0; pixel < area; ++pixel) {
        std::size_t best = 1;
        for (std::size_t k = 2; k < border; ++k) {
            if (probabilities[k * area + pixel] > probabilities[best * area + pixel]) best = k;
        }
        probabilities[best * area + pixel] += probabilities[border * area + pixel];
    }
    probabilities.resize(border * area);
}

}  // namespace unetkit
