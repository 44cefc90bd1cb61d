// A loaded network: numbers in, numbers out. One file a runtime; which ones there are is decided when the program is
// built.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "images.hpp"

namespace unetkit {

struct Tensor {
    std::vector<std::int64_t> shape;
    std::vector<float> values;
    bool bytes = false;  // the values are whole numbers from 0 to 255, and go in as such
};

class Network {
public:
    virtual ~Network() = default;

    // The card's JSON text, or an empty one.
    virtual std::string card() const = 0;

    // Compute; whole numbers that come out are given as floats.
    virtual Tensor run(const Tensor& images) = 0;
};

struct Settings {
    int threads = 0;  // 0: one for every core
    std::string device = "CPU";
    enum class Precision { float32, bfloat16, float16 } precision = Precision::float32;
};

// Load a file by what its name ends with; throws Error where it cannot be loaded.
std::unique_ptr<Network> load_network(const Path& path, const Settings& settings);

std::unique_ptr<Network> load_openvino(const Path& path, const Settings& settings);
std::unique_ptr<Network> load_aoti(const Path& path, const Settings& settings);

}  // namespace unetkit
