// unetkit-predict: segment images with an exported network, and score the result where labels are given.
//
// What its arguments share with `unetkit predict` means the same there. Wrong usage and bad files end it with 2 and one
// line; nothing is left half-written.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>

#include "error.hpp"
#include "images.hpp"
#include "output.hpp"
#include "predictor.hpp"
#include "scores.hpp"

namespace unetkit {

namespace {

constexpr const char* usage = R"(unetkit-predict MODEL INPUT [--out PATH] [--labels PATH] [options]

  MODEL              FILE.xml of `unetkit export --to openvino`, or FILE.pt2 of `--to aoti`
  INPUT              an image, a stack, or a folder of images (TIFF or PNG)
  --out PATH         file or folder to write
  --labels PATH      masks of INPUT, a file or a folder with files of the same names: print Dice and IoU
  --probabilities    write probabilities instead of masks
  --tta              average over the eight flips and turns
  --tile N           side of a tile in pixels
  --overlap N        pixels that tiles share on each side
  --threads N        of the processor; all of its cores otherwise
  --precision NAME   float32, the same everywhere; bfloat16 or float16: faster where OpenVINO's device has them
  --device NAME      as the runtime calls it: CPU, GPU, GPU.1 ...
)";

struct Arguments {
    Path model, input;
    std::optional<Path> out, labels;
    bool probabilities = false;
    Wishes wishes;
    Settings settings;
};

int number_of(const std::string& option, const std::string& text, int least) {
    int value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > (1 << 24)) {
        throw Error(option + ": found " + text + ", expected a whole number from " + std::to_string(least) + " on");
    }
    return value;
}

Settings::Precision precision_of(const std::string& text) {
    if (text == "float32") return Settings::Precision::float32;
    if (text == "bfloat16") return Settings::Precision::bfloat16;
    if (text == "float16") return Settings::Precision::float16;
    throw Error("--precision: found " + text + ", expected float32, bfloat16 or float16");
}

Arguments parse(std::vector<std::string> words) {
    Arguments result;
    std::vector<std::string> places;
    std::map<std::string, std::function<void(const std::string&)>> valued = {
        {"--out", [&](const std::string& text) { result.out = text; }},
        {"--labels", [&](const std::string& text) { result.labels = text; }},
        {"--tile", [&](const std::string& text) { result.wishes.tile = number_of("--tile", text, 1); }},
        {"--overlap", [&](const std::string& text) { result.wishes.overlap = number_of("--overlap", text, 0); }},
        {"--threads", [&](const std::string& text) { result.settings.threads = number_of("--threads", text, 1); }},
        {"--precision", [&](const std::string& text) { result.settings.precision = precision_of(text); }},
        {"--device", [&](const std::string& text) { result.settings.device = text; }},
    };
    std::map<std::string, bool*> flags = {{"--probabilities", &result.probabilities}, {"--tta", &result.wishes.tta}};
    for (std::size_t at = 0; at < words.size(); ++at) {
        const std::string& word = words[at];
        if (auto flag = flags.find(word); flag != flags.end()) {
            *flag->second = true;
        } else if (auto option = valued.find(word); option != valued.end()) {
            if (at + 1 == words.size()) throw Error(word + ": its value is missing");
            option->second(words[++at]);
        } else if (word.starts_with("-")) {
            throw Error(word + ": there is no such option; unetkit-predict --help lists them");
        } else {
            places.push_back(word);
        }
    }
    if (places.size() != 2)
        throw Error(std::to_string(places.size()) +
                    " places were given, and MODEL INPUT expected; see unetkit-predict --help");
    if (!result.out && !result.labels) throw Error("nothing is to be done; give --out PATH, --labels PATH, or both");
    result.model = places[0], result.input = places[1];
    return result;
}

// One file of the input, and what belongs to it.
struct Task {
    Path image;
    std::optional<Path> out, labels;
};

bool is_image(const Path& path) {
    std::string kind = ending(path);
    return kind == ".tif" || kind == ".tiff" || kind == ".png";
}

std::string name_for(const Path& image, bool probabilities) {
    return image.stem().string() + (!probabilities && ending(image) == ".png" ? ".png" : ".tif");
}

Path mask_of(const Path& image, const Path& labels) {
    if (!std::filesystem::is_directory(labels)) return labels;
    for (const char* ending : {".tif", ".tiff", ".png"}) {
        Path found = labels / (image.stem().string() + ending);
        if (std::filesystem::exists(found)) return found;
    }
    throw Error(labels.string() + ": holds no mask for " + image.filename().string());
}

std::vector<Task> tasks_of(const Arguments& arguments) {
    std::vector<Path> images;
    bool folder = std::filesystem::is_directory(arguments.input);
    if (folder) {
        for (const auto& entry : std::filesystem::directory_iterator(arguments.input)) {
            if (entry.is_regular_file() && is_image(entry.path())) images.push_back(entry.path());
        }
        std::sort(images.begin(), images.end());
        if (images.empty())
            throw Error(arguments.input.string() + ": holds no image files; expected .tif, .tiff or .png");
        if (arguments.labels && !std::filesystem::is_directory(*arguments.labels))
            throw Error(arguments.labels->string() + ": a folder of masks was expected for a folder of images");
    } else {
        images.push_back(arguments.input);
    }
    std::vector<Task> tasks;
    for (const Path& image : images) {
        Task task{image, {}, {}};
        if (arguments.out)
            task.out = folder || std::filesystem::is_directory(*arguments.out)
                           ? *arguments.out / name_for(image, arguments.probabilities)
                           : *arguments.out;
        if (arguments.labels) task.labels = mask_of(image, *arguments.labels);
        std::error_code ignored;
        if (task.out && std::filesystem::equivalent(*task.out, image, ignored))
            throw Error(task.out->string() +
                        ": is the image itself; choose another --out, so that it is not overwritten");
        for (const Task& other : tasks) {
            if (task.out && other.out == task.out)
                throw Error(image.string() + ": its mask would have the name of that for " +
                            other.image.filename().string() + "; rename one of them");
        }
        tasks.push_back(std::move(task));
    }
    return tasks;
}

Shape shape_for(const Stack& stack, const Predictor& predictor, bool probabilities) {
    bool two = predictor.classes() == 2;
    Type type = probabilities ? Type::f32 : predictor.classes() <= 256 ? Type::u8 : Type::u16;
    return {stack.pages, probabilities && !two ? predictor.classes() : 1, stack.height, stack.width, type};
}

// The class indices of the highest probability, the first of equals; 0 and 255 where there are two classes. With
// thresholds that of the highest but the first, where its probability against the first's alone is above its threshold.
Bytes mask_bytes(const std::vector<float>& probabilities, int classes, const std::vector<float>& thresholds, Type type) {
    std::size_t area = probabilities.size() / static_cast<std::size_t>(classes);
    Bytes result(area * static_cast<std::size_t>(type));
    for (std::size_t pixel = 0; pixel < area; ++pixel) {
        std::size_t best = thresholds.empty() ? 0 : 1;
        for (std::size_t k = best + 1; k < static_cast<std::size_t>(classes); ++k) {
            if (probabilities[k * area + pixel] > probabilities[best * area + pixel]) best = k;
        }
        if (!thresholds.empty()) {
            float own = probabilities[best * area + pixel];
            float share = classes == 2 ? own : own / (own + probabilities[pixel]);
            if (!(share > thresholds[best - 1])) best = 0;
        }
        if (type == Type::u16) {
            auto index = static_cast<std::uint16_t>(best);
            std::memcpy(result.data() + 2 * pixel, &index, 2);
        } else {
            result[pixel] = static_cast<std::uint8_t>(classes == 2 ? best * 255 : best);
        }
    }
    return result;
}

void put(Output& output, const std::vector<float>& probabilities, const Predictor& predictor, bool as_probabilities) {
    auto classes = static_cast<std::size_t>(predictor.classes());
    if (!as_probabilities)
        return output.put(mask_bytes(probabilities, predictor.classes(), predictor.card().thresholds,
                                     classes <= 256 ? Type::u8 : Type::u16));
    std::size_t area = probabilities.size() / classes;
    for (std::size_t k = classes == 2 ? 1 : 0; k < classes; ++k) {
        output.put({reinterpret_cast<const std::uint8_t*>(probabilities.data() + k * area), area * sizeof(float)});
    }
}

struct Sums {
    double dice = 0, iou = 0;
    int images = 0;

    void add(double one) { dice += one, iou += iou_of(one), ++images; }
};

void score(const std::vector<float>& probabilities, const Stack& masks, int page, Predictor& predictor, Sums& sums) {
    std::vector<int> labels;
    try {
        labels = labels_of(masks.read(page), predictor.classes());
    } catch (const Error& error) {
        throw Error(masks.path.string() + ", page " + std::to_string(page) + ": " + error.what());
    }
    double dice = soft_dice(probabilities, labels);
    sums.add(dice);
    std::printf("single dice coeff is: %.7f, IOU is: %.7f\n", dice, iou_of(dice));
}

std::optional<Stack> masks_for(const Task& task, const Stack& images) {
    if (!task.labels) return std::nullopt;
    Stack masks = open_stack(*task.labels);
    if (masks.pages != images.pages || masks.height != images.height || masks.width != images.width) {
        throw Error(task.labels->string() + ": has " + std::to_string(masks.pages) + " pages of " +
                    std::to_string(masks.height) + " x " + std::to_string(masks.width) + " px, and " +
                    task.image.filename().string() + " " + std::to_string(images.pages) + " of " +
                    std::to_string(images.height) + " x " + std::to_string(images.width));
    }
    return masks;
}

void carry_out(const Task& task, Predictor& predictor, bool probabilities, Sums& sums) {
    Stack images = open_stack(task.image);
    auto masks = masks_for(task, images);
    std::unique_ptr<Output> output;
    if (task.out) {
        if (task.out->has_parent_path()) std::filesystem::create_directories(task.out->parent_path());
        output = std::make_unique<Output>(*task.out, shape_for(images, predictor, probabilities));
    }
    for (int page = 0; page < images.pages; ++page) {
        std::vector<float> answer;
        try {
            answer = predictor.probabilities(images.read(page));
        } catch (const Error& error) {
            std::string text = error.what();
            throw Error(text.starts_with(task.image.string()) ? text : task.image.string() + ": " + text);
        }
        if (output) put(*output, answer, predictor, probabilities);
        if (masks) score(answer, *masks, page, predictor, sums);
    }
    if (output) {
        output->finish();
        std::printf("written: %s\n", task.out->c_str());
    }
}

void run(const Arguments& arguments) {
    auto tasks = tasks_of(arguments);
    auto network = load_network(arguments.model, arguments.settings);
    if (network->card().empty())
        throw Error(arguments.model.string() +
                    ": is without unetkit's card; expected a file that `unetkit export` wrote");
    Predictor predictor(std::move(network), arguments.wishes);
    if (predictor.card().close_gaps)
        std::cerr << "note: gaps in contours are left open here; unetkit predict closes them (predict.close_gaps)\n";
    Sums sums;
    for (const Task& task : tasks) carry_out(task, predictor, arguments.probabilities, sums);
    if (sums.images > 0) {
        std::printf("============== Cross valid dice coeff is: %.7f\n", sums.dice / sums.images);
        std::printf("============== Cross valid IOU is: %.7f\n", sums.iou / sums.images);
    }
}

int complain(const std::string& text, int code) {
    std::string line = "unetkit-predict: " + text;
    for (char& letter : line) {
        if (static_cast<unsigned char>(letter) < ' ') letter = ' ';
    }
    std::cerr << line << '\n';
    return code;
}

}  // namespace

}  // namespace unetkit

int main(int count, char** words) {
    std::vector<std::string> arguments(words + 1, words + count);
    for (const std::string& word : arguments) {
        if (word == "-h" || word == "--help") {
            std::fputs(unetkit::usage, stdout);
            return 0;
        }
    }
    try {
        unetkit::run(unetkit::parse(arguments));
        return 0;
    } catch (const unetkit::Error& error) {
        return unetkit::complain(error.what(), 2);
    } catch (const std::filesystem::filesystem_error& error) {
        return unetkit::complain(std::string(error.what()) + "; choose another place", 2);
    } catch (const std::bad_alloc&) {
        return unetkit::complain("the memory does not suffice; give a smaller --tile", 2);
    } catch (const std::exception& error) {
        return unetkit::complain(std::string("failed: ") + error.what(), 1);
    }
}
