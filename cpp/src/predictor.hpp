// A network with its card: pages of any size in, the probability of every class at every pixel out.
#pragma once

#include <memory>

#include "card.hpp"
#include "images.hpp"
#include "network.hpp"

namespace unetkit {

// What the user may ask for; what is not asked for is as the run was configured.
struct Wishes {
    std::optional<int> tile, overlap;
    bool tta = false, calibrate = false;
};

class Predictor {
public:
    Predictor(std::unique_ptr<Network> network, const Wishes& wishes);

    const Card& card() const { return card_; }

    // The classes that the data has: all but the border of objects.
    int classes() const { return static_cast<int>(card_.classes.size()) - (card_.border ? 1 : 0); }

    // Return the probabilities [classes, height, width] of a page in stored units; throws Error for another number of
    // channels.
    std::vector<float> probabilities(const Page& page);

private:
    std::vector<float> at_its_size(const Page& page);
    void add_tile(const Page& page, const Plan& plan, const Span& row, const Span& column, std::vector<float>& result);
    Tensor given(const Page& page, int symmetry, const Window& rows, const Window& columns) const;
    void fill(Tensor& images) const;
    Tensor answered(Tensor images);
    void join_border(std::vector<float>& probabilities, std::size_t area) const;

    std::unique_ptr<Network> network_;
    Card card_;
    bool tta_;
    float cooling_ = 1;  // what logits are multiplied with
};

}  // namespace unetkit
