// Predict the mask of an image with an exported file: segment model.onnx cat.jpg mask.png
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <onnxruntime_cxx_api.h>
#include <stb_image.h>
#include <stb_image_write.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

struct Image {
    int width = 0, height = 0, channels = 0;
    std::vector<uint8_t> pixels;
};

static Image copy(uint8_t* decoded, int width, int height, int channels) {
    if (!decoded) throw std::runtime_error(stbi_failure_reason());
    Image image{width, height, channels, {decoded, decoded + size_t(width) * height * channels}};
    stbi_image_free(decoded);
    return image;
}

static std::vector<uint8_t> decode_base64(const std::string& text) {
    static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::vector<uint8_t> bytes;
    uint32_t value = 0;
    int bits = 0;
    for (char digit : text) {
        const auto position = digits.find(digit);
        if (position == std::string::npos) break;  // padding
        value = value << 6 | uint32_t(position);
        bits += 6;
        if (bits >= 8) bytes.push_back(uint8_t(value >> (bits -= 8)));
    }
    return bytes;
}

static Image decode(const std::string& base64, int channels) {
    const auto bytes = decode_base64(base64);
    int width = 0, height = 0, stored = 0;
    auto* decoded = stbi_load_from_memory(bytes.data(), int(bytes.size()), &width, &height, &stored, channels);
    return copy(decoded, width, height, channels);
}

static std::vector<uint8_t> predict(Ort::Session& session, Image& image) {
    const std::array<int64_t, 4> shape{1, image.height, image.width, 3};
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    auto input = Ort::Value::CreateTensor<uint8_t>(
        memory, image.pixels.data(), image.pixels.size(), shape.data(), shape.size());
    const char *inputs[] = {"image"}, *outputs[] = {"mask"};
    auto results = session.Run(Ort::RunOptions{}, inputs, &input, 1, outputs, 1);
    const auto* mask = results[0].GetTensorData<uint8_t>();
    return {mask, mask + size_t(image.width) * image.height};
}

static int run(const std::string& model_file, const std::string& image_file, const std::string& mask_file) {
    Ort::Env env(ORT_LOGGING_LEVEL_ERROR);
    Ort::Session session(env, model_file.c_str(), Ort::SessionOptions{});
    Ort::AllocatorWithDefaultOptions allocator;
    const auto entry = session.GetModelMetadata().LookupCustomMetadataMapAllocated("pixelwise", allocator);
    if (!entry) throw std::runtime_error("not a file of pixelwise export");
    const auto facts = nlohmann::json::parse(entry.get());

    if (facts.at("model").at("task") == "multilabel" || facts.at("model").at("mean").size() != 3)
        throw std::runtime_error(model_file + ": this program is for RGB images and one class per pixel");

    for (const auto& test : facts.at("tests")) {
        auto image = decode(test.at("image"), 3);
        const auto expected = decode(test.at("mask"), 1).pixels, mask = predict(session, image);
        size_t equal = 0;
        for (size_t index = 0; index < mask.size(); ++index) equal += mask[index] == expected.at(index);
        const double fraction = double(equal) / double(mask.size());
        std::printf("self-test: %.2f%% of the pixels equal\n", 100 * fraction);
        if (!(fraction >= 0.999)) return 2;
    }

    int width = 0, height = 0, stored = 0;
    auto* decoded = stbi_load(image_file.c_str(), &width, &height, &stored, 3);
    auto image = copy(decoded, width, height, 3);
    const auto mask = predict(session, image);
    if (!stbi_write_png(mask_file.c_str(), width, height, 1, mask.data(), width))
        throw std::runtime_error(mask_file + ": cannot be written");
    const auto& classes = facts.at("model").at("classes");
    for (size_t index = 0; index < classes.size(); ++index) {
        const auto count = std::count(mask.begin(), mask.end(), uint8_t(index));
        std::printf("%s: %.1f%%\n", classes[index].get<std::string>().c_str(), 100.0 * double(count) / double(mask.size()));
    }
    return 0;
}

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "usage: segment model.onnx image mask.png\n");
        return 2;
    }
    try {
        return run(arguments[1], arguments[2], arguments[3]);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "segment: %s\n", error.what());
        return 2;
    }
}
