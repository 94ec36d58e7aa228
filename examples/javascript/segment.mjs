// Predict the mask of an image with an exported file: node segment.mjs model.onnx cat.jpg mask.png
import { readFile } from "node:fs/promises";
import { InferenceSession, Tensor } from "onnxruntime-node";
import sharp from "sharp";

const METADATA_FIELD = 14; // ModelProto.metadata_props in onnx.proto

// Yield the fields of a protobuf message that have a length: [number, bytes]. ONNX Runtime for Node has no metadata.
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const type = key & 7;
    if (type === 0) varint();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else {
      const length = varint();
      yield [key >>> 3, bytes.subarray(at, at + length)];
      at += length;
    }
  }
}

function metadataOf(bytes) {
  for (const [number, entry] of fieldsOf(bytes)) {
    if (number !== METADATA_FIELD) continue;
    const [name, value] = [...fieldsOf(entry)].map(([, text]) => text.toString());
    if (name === "pixelwise") return JSON.parse(value);
  }
  throw new Error("not a file of pixelwise export");
}

async function decode(source, channels) {
  const image = sharp(source).autoOrient().flatten({ background: "white" });
  const { data, info } = await image.toColourspace(channels === 3 ? "srgb" : "b-w").raw().toBuffer({ resolveWithObject: true });
  if (info.channels !== channels) throw new Error(`${info.channels} channels instead of ${channels}`);
  return { data: new Uint8Array(data), width: info.width, height: info.height };
}

async function predict({ data, width, height }) {
  const { mask } = await session.run({ image: new Tensor("uint8", data, [1, height, width, 3]) }, ["mask"]);
  return mask.data;
}

const [modelFile, imageFile, maskFile] = process.argv.slice(2);
const file = await readFile(modelFile);
const facts = metadataOf(file);
if (facts.model.task === "multilabel" || facts.model.mean.length !== 3) {
  throw new Error(`${modelFile}: this program is for RGB images and one class per pixel`);
}
const session = await InferenceSession.create(file);

for (const test of facts.tests) {
  const [image, expected] = [await decode(Buffer.from(test.image, "base64"), 3), await decode(Buffer.from(test.mask, "base64"), 1)];
  const mask = await predict(image);
  const equal = mask.reduce((sum, value, index) => sum + (value === expected.data[index]), 0) / mask.length;
  console.log(`self-test: ${(100 * equal).toFixed(2)}% of the pixels equal`);
  if (!(equal >= 0.999)) process.exit(2);
}

const image = await decode(imageFile, 3);
const mask = await predict(image);
await sharp(mask, { raw: { width: image.width, height: image.height, channels: 1 } }).toColourspace("b-w").png().toFile(maskFile);
facts.model.classes.forEach((name, index) => {
  const count = mask.reduce((sum, value) => sum + (value === index), 0);
  console.log(`${name}: ${((100 * count) / mask.length).toFixed(1)}%`);
});
