#include "network.hpp"

#include "error.hpp"

namespace unetkit {

namespace {

struct Runtime {
    const char* ending;
    const char* name;
    std::unique_ptr<Network> (*load)(const Path&, const Settings&);
};

#ifdef UNETKIT_OPENVINO
constexpr auto openvino = load_openvino;
#else
constexpr std::unique_ptr<Network> (*openvino)(const Path&, const Settings&) = nullptr;
#endif
#ifdef UNETKIT_AOTI
constexpr auto aoti = load_aoti;
#else
constexpr std::unique_ptr<Network> (*aoti)(const Path&, const Settings&) = nullptr;
#endif

constexpr Runtime runtimes[] = {
    {".xml", "OpenVINO", openvino}, {".onnx", "OpenVINO", openvino}, {".pt2", "AOTInductor", aoti}};

}  // namespace

std::unique_ptr<Network> load_network(const Path& path, const Settings& settings) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(path, ignored))
        throw Error(path.string() + ": no network is there; expected a file that `unetkit export --to openvino` wrote");
    for (const Runtime& runtime : runtimes) {
        if (path.extension() != runtime.ending) continue;
        if (runtime.load == nullptr)
            throw Error(path.string() + ": is for " + runtime.name + ", which this program was built without");
        return runtime.load(path, settings);
    }
    if (path.extension() == ".mindir")
        throw Error(path.string() + ": is for MindSpore, which this program does without; make an ONNX of it: unetkit export " +
                    path.string() + " --to onnx --out " + path.stem().string() + ".onnx");
    throw Error(path.string() + ": its ending says no kind of network; expected .xml or .onnx (OpenVINO), or .pt2 (AOTInductor)");
}

}  // namespace unetkit
