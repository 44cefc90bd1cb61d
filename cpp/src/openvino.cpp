// OpenVINO's own files, FILE.xml with FILE.bin beside it, and ONNX.
#include <openvino/openvino.hpp>

#include <algorithm>
#include <fstream>
#include <regex>

#include "error.hpp"
#include "network.hpp"

namespace unetkit {

namespace {

// OpenVINO asks every reader that it has, and some of them talk: only files of its own form are shown to it.
void require_form(const Path& path) {
    if (path.extension() == ".onnx") return;
    std::string head(512, '\0');
    std::ifstream(path, std::ios::binary).read(head.data(), static_cast<std::streamsize>(head.size()));
    static const std::regex form(R"(\s*(<\?xml[^<>]*>\s*)?<net [^<>]*\bversion="1[01]")");
    if (!std::regex_search(head, form, std::regex_constants::match_continuous))
        throw Error(path.string() +
                    ": is no file of OpenVINO's; expected one that `unetkit export --to openvino` wrote");
    Path weights = Path(path).replace_extension(".bin");
    if (!std::filesystem::exists(weights))
        throw Error(path.string() + ": its weights are missing; put " + weights.filename().string() + " beside it");
}

// The last line of what OpenVINO complains of: those before name places in its sources.
std::string reason(const ov::Exception& error) {
    std::string text = error.what();
    text.erase(text.find_last_not_of(" \n") + 1);
    return text.substr(text.find_last_of('\n') + 1).substr(0, 200);
}

ov::element::Type type_of(Settings::Precision precision) {
    switch (precision) {
        case Settings::Precision::bfloat16:
            return ov::element::bf16;
        case Settings::Precision::float16:
            return ov::element::f16;
        default:
            return ov::element::f32;  // the same numbers on every processor
    }
}

class OpenVino : public Network {
public:
    OpenVino(const Path& path, const Settings& settings) {
        ov::Core core;
        auto model = core.read_model(path.string());
        if (model->has_rt_info("unetkit")) card_ = model->get_rt_info<std::string>("unetkit");
        if (model->has_rt_info("framework", "unetkit"))  // a property of an ONNX file
            card_ = model->get_rt_info<std::string>("framework", "unetkit");
        ov::element::Type precision = type_of(settings.precision);
        ov::AnyMap options = {ov::hint::inference_precision(precision)};
        if (settings.device == "CPU" && settings.threads > 0)
            options.emplace(ov::inference_num_threads(settings.threads));
        auto compiled = core.compile_model(model, settings.device, options);
        if (compiled.get_property(ov::hint::inference_precision) != precision)  // a CPU may pass over it in silence
            throw Error("OpenVINO does not compute in this precision on this " + settings.device +
                        "; try another --precision");
        request_ = compiled.create_infer_request();
    }

    std::string card() const override { return card_; }

    Tensor run(const Tensor& images) override {
        ov::Tensor input(images.bytes ? ov::element::u8 : ov::element::f32,
                         ov::Shape(images.shape.begin(), images.shape.end()));
        if (images.bytes) {
            std::transform(images.values.begin(), images.values.end(), input.data<std::uint8_t>(),
                           [](float value) { return static_cast<std::uint8_t>(value); });
        } else {
            std::copy(images.values.begin(), images.values.end(), input.data<float>());
        }
        request_.set_input_tensor(input);
        request_.infer();
        ov::Tensor output = request_.get_output_tensor();
        ov::Shape shape = output.get_shape();
        Tensor result{{shape.begin(), shape.end()}, std::vector<float>(output.get_size())};
        if (output.get_element_type() == ov::element::i32) {
            std::copy_n(output.data<std::int32_t>(), output.get_size(), result.values.begin());
        } else {
            std::copy_n(output.data<float>(), output.get_size(), result.values.begin());
        }
        return result;
    }

private:
    ov::InferRequest request_;
    std::string card_;
};

}  // namespace

std::unique_ptr<Network> load_openvino(const Path& path, const Settings& settings) {
    require_form(path);
    try {
        return std::make_unique<OpenVino>(path, settings);
    } catch (const ov::Exception& error) {
        throw Error(path.string() + ": OpenVINO does not load it (" + reason(error) + "); export it again");
    }
}

}  // namespace unetkit
