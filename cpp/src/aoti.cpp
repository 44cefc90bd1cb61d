// Packages of AOTInductor: machine code for the kind of processor that they were made on. Open only files from people
// you trust.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <algorithm>

#include "error.hpp"
#include "network.hpp"

namespace unetkit {

namespace {

class Aoti : public Network {
public:
    explicit Aoti(const Path& path) : loader_(path.string()) {}

    std::string card() const override {
        auto known = const_cast<torch::inductor::AOTIModelPackageLoader&>(loader_).get_metadata();
        auto found = known.find("unetkit");
        return found == known.end() ? "" : found->second;
    }

    Tensor run(const Tensor& images) override {
        c10::InferenceMode guard;
        // The package only reads what it is given.
        at::Tensor input = at::from_blob(const_cast<float*>(images.values.data()), images.shape, at::kFloat);
        std::vector<at::Tensor> given = {images.bytes ? input.to(at::kByte) : input};
        auto answers = loader_.run(given);
        at::Tensor output = answers.at(0).to(at::kFloat).contiguous();
        const float* values = output.const_data_ptr<float>();
        return {output.sizes().vec(), std::vector<float>(values, values + output.numel())};
    }

private:
    torch::inductor::AOTIModelPackageLoader loader_;
};

}  // namespace

std::unique_ptr<Network> load_aoti(const Path& path, const Settings& settings) {
    if (settings.device != "CPU") throw Error("an AOTInductor package runs where it was made for; leave --device out");
    if (settings.precision != Settings::Precision::float32)
        throw Error("an AOTInductor package computes in the numbers it was made with; leave --precision out");
    if (settings.threads > 0) at::set_num_threads(settings.threads);
    try {
        return std::make_unique<Aoti>(path);
    } catch (const std::exception& error) {
        std::string reason = error.what();
        reason = reason.substr(0, std::min(reason.find("Exception raised"), reason.find('\n')));
        throw Error(path.string() + ": AOTInductor does not load it (" + reason.substr(0, 200) + "); export it again");
    }
}

}  // namespace unetkit
