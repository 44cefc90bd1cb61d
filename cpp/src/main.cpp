// unetkit-predict: segment images with an exported network, and score the result where labels are given.
//
// What its arguments share with `unetkit predict` means the same there. Wrong usage and bad files end it with 2 and one
// line; nothing is left half-written.
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <set>

#include "error.hpp"
#include "images.hpp"
#include "output.hpp"
#include "predictor.hpp"
#include "scores.hpp"
#include "tasks.hpp"

namespace unetkit {

namespace {

constexpr const char* usage = R"(unetkit-predict MODEL INPUT [--out PATH] [--labels PATH] [options]

  MODEL              FILE.xml or FILE.onnx of `unetkit export --to openvino` or `onnx`, or FILE.pt2 of `--to aoti`
  INPUT              an image, a stack, a folder of images (TIFF or PNG), of ID/image.png, or of nuclei
  --out PATH         file or folder to write
  --labels PATH      masks of INPUT, a file or a folder with files of the same names (of ID/mask.png or ID/masks, often
                     INPUT itself): print Dice and IoU of the images that the network was not trained on
  --all              with --labels: score every image, also those that it was trained on
  --probabilities    write probabilities instead of masks
  --calibrate        probabilities at the temperature fitted on the held-out images
  --tta              average over the eight flips and turns
  --tile N           side of a tile in pixels
  --overlap N        pixels that tiles share on each side
  --threads N        of the processor; all of its cores otherwise
  --precision NAME   float32, the same everywhere; bfloat16 or float16: faster where OpenVINO's device has them
  --device NAME      as the runtime calls it: CPU, GPU, GPU.1 ...
)";

struct Arguments {
    Path model;
    Request request;
    bool all = false;
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
        {"--out", [&](const std::string& text) { result.request.out = text; }},
        {"--labels", [&](const std::string& text) { result.request.labels = text; }},
        {"--tile", [&](const std::string& text) { result.wishes.tile = number_of("--tile", text, 1); }},
        {"--overlap", [&](const std::string& text) { result.wishes.overlap = number_of("--overlap", text, 0); }},
        {"--threads", [&](const std::string& text) { result.settings.threads = number_of("--threads", text, 1); }},
        {"--precision", [&](const std::string& text) { result.settings.precision = precision_of(text); }},
        {"--device", [&](const std::string& text) { result.settings.device = text; }},
    };
    std::map<std::string, bool*> flags = {{"--probabilities", &result.request.probabilities},
                                          {"--all", &result.all},
                                          {"--calibrate", &result.wishes.calibrate},
                                          {"--tta", &result.wishes.tta}};
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
    if (!result.request.out && !result.request.labels) throw Error("nothing is to be done; give --out PATH, --labels PATH, or both");
    result.model = places[0], result.request.input = places[1];
    return result;
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
    if (task.masks.empty()) return std::nullopt;
    Stack masks = open_masks(task);
    if (masks.pages != images.pages || masks.height != images.height || masks.width != images.width) {
        throw Error(masks.path.string() + ": has " + std::to_string(masks.pages) + " pages of " +
                    std::to_string(masks.height) + " x " + std::to_string(masks.width) + " px, and " +
                    task.image.filename().string() + " " + std::to_string(images.pages) + " of " +
                    std::to_string(images.height) + " x " + std::to_string(images.width));
    }
    return masks;
}

// The name of a page's sample, as Python has it.
std::string sample_name(const Task& task, const Stack& images, int page) {
    if (images.pages == 1) return task.name;
    std::string number = std::to_string(page);
    std::size_t digits = std::max<std::size_t>(2, std::to_string(images.pages - 1).size());
    return task.name + "[" + std::string(digits - number.size(), '0') + number + "]";
}

// Which of the images are scored: those that the card names as held out, where some of the input are.
class Scored {
public:
    Scored(const std::vector<Task>& tasks, const Card& card, bool all) {
        if (all) return;
        std::size_t found = 0, total = 0;
        for (const Task& task : tasks) {
            if (task.masks.empty()) continue;
            Stack images = open_stack(task.image);
            for (int page = 0; page < images.pages; ++page, ++total) {
                std::string name = sample_name(task, images, page);
                found += card.held_out.contains(name) ? 1 : 0;
            }
        }
        if (found > 0) held_out_ = &card.held_out;
        if (total == 0) return;
        if (found > 0) {
            std::printf("note: scored are the %zu of %zu images that were held out of the training, by the card; --all "
                        "scores every one\n", found, total);
        } else if (!card.held_out.empty()) {
            std::printf("note: the card names no held-out image with these names: all %zu are scored\n", total);
        } else {
            std::printf("note: the card names no held-out images: all %zu are scored, also any it was trained on\n",
                        total);
        }
    }

    bool contains(const std::string& name) const { return held_out_ == nullptr || held_out_->contains(name); }

private:
    const std::set<std::string>* held_out_ = nullptr;
};

void carry_out(const Task& task, Predictor& predictor, bool probabilities, const Scored& scored, Sums& sums) {
    Stack images = with_context(open_stack(task.image), predictor.card().context);
    auto masks = masks_for(task, images);
    std::unique_ptr<Output> output;
    if (task.out) {
        if (task.out->has_parent_path()) std::filesystem::create_directories(task.out->parent_path());
        output = std::make_unique<Output>(*task.out, shape_for(images, predictor, probabilities));
    }
    for (int page = 0; page < images.pages; ++page) {
        bool wanted = masks && scored.contains(sample_name(task, images, page));
        if (!output && !wanted) continue;
        std::vector<float> answer;
        try {
            answer = predictor.probabilities(images.read(page));
        } catch (const Error& error) {
            std::string text = error.what();
            throw Error(text.starts_with(task.image.string()) ? text : task.image.string() + ": " + text);
        }
        if (output) put(*output, answer, predictor, probabilities);
        if (wanted) score(answer, *masks, page, predictor, sums);
    }
    if (output) {
        output->finish();
        std::printf("written: %s\n", task.out->c_str());
    }
}

void run(const Arguments& arguments) {
    auto tasks = tasks_of(arguments.request);
    auto network = load_network(arguments.model, arguments.settings);
    if (network->card().empty())
        throw Error(arguments.model.string() +
                    ": is without unetkit's card; expected a file that `unetkit export` wrote");
    Predictor predictor(std::move(network), arguments.wishes);
    if (predictor.card().close_gaps)
        std::cerr << "note: gaps in contours are left open here; unetkit predict closes them (predict.close_gaps)\n";
    Sums sums;
    Scored scored(tasks, predictor.card(), arguments.all);
    for (const Task& task : tasks) carry_out(task, predictor, arguments.request.probabilities, scored, sums);
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
