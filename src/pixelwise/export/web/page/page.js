// The page of an exported model: it tests the model with the images inside its file, and predicts images.
// Nothing leaves the device: the page fetches only the files beside it.

const MIN_EQUAL = 0.999; // minimum fraction of pixels of a self-test that must be equal
const MODEL = "model.onnx";
const RUNTIMES = { wasm: "ort/ort.wasm.min.mjs", webgpu: "ort/ort.min.mjs" };
const NAMES = { wasm: "WebAssembly", webgpu: "WebGPU" };
const IGNORE = 255; // the value of pixels without data
const MAX_PIXELS = 67_000_000;

const find = (id) => document.getElementById(id);
const settings = JSON.parse(find("settings").textContent);
let model; // the bytes of the file
let metadata; // what the file says about itself
let backend; // the session that computes masks
let shots = 0; // number of camera images
const results = []; // one entry for each predicted image
let queue = Promise.resolve(); // images and self-tests are computed one after the other

// ---------------------------------------------------------------------------------------------- the model's file

async function fetchModel() {
  const response = await fetch(MODEL);
  if (!response.ok) throw new Error(`${MODEL} cannot be loaded (HTTP ${response.status}).`);
  // The length of a compressed response is not that of the file.
  const total = response.headers.get("Content-Encoding") ? 0 : Number(response.headers.get("Content-Length"));
  const chunks = [];
  let length = 0;
  for (const reader = response.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    chunks.push(value);
    length += value.length;
    if (total) find("loading").value = length / total;
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

// Yields [number, bytes] of the fields with a length in a protobuf message.
function* protobufFields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0, scale = 1, byte;
    do {
      byte = bytes[at++];
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte & 128);
    return value;
  };
  while (at < bytes.length) {
    const key = varint(), kind = key & 7;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      yield [key >>> 3, bytes.subarray(at, at + length)];
      at += length;
    } else throw new Error(`${MODEL} is damaged.`);
  }
}

// The metadata entry of pixelwise. Field 14 of an ONNX model holds keys (field 1) and values (field 2).
function readMetadata(bytes) {
  const decoder = new TextDecoder();
  for (const [number, content] of protobufFields(bytes)) {
    if (number !== 14) continue;
    const entry = Object.fromEntries(protobufFields(content));
    if (decoder.decode(entry[1]) === "pixelwise") return JSON.parse(decoder.decode(entry[2]));
  }
  throw new Error(`${MODEL} was not written by pixelwise.`);
}

// ---------------------------------------------------------------------------------------------- pixels

// Decodes an image file upright, without color management. Returns {width, height, pixels}, pixels as RGB bytes.
async function decodeImage(blob) {
  if (await has16Bits(blob)) throw new Error("It has 16 bits per channel, which browsers reduce to 8. Convert it first.");
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none",
    });
  } catch {
    throw new Error("This browser cannot decode it. Save it again as JPEG or PNG.");
  }
  try {
    const { width, height } = bitmap;
    if (width * height > MAX_PIXELS) throw new Error(`It has ${width}×${height} pixels. Make it smaller.`);
    let rgba = readCanvas(bitmap);
    // A canvas multiplies colors by the opacity, which rounds them. A texture does not.
    if (hasTransparency(rgba)) rgba = readTexture(bitmap) ?? rgba;
    return { width, height, pixels: blendWithWhite(rgba) };
  } finally {
    bitmap.close();
  }
}

async function has16Bits(blob) {
  const head = new Uint8Array(await blob.slice(0, 25).arrayBuffer());
  const isPng = [0x89, 0x50, 0x4e, 0x47].every((value, index) => head[index] === value);
  return isPng && head[24] === 16;
}

function readCanvas(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height).data;
}

// The RGBA bytes of an image by WebGL, or null if it is too large or there is no WebGL.
function readTexture(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  const rgba = new Uint8Array(width * height * 4);
  const isComplete = gl.checkFramebufferStatus(gl.FRAMEBUFFER) === gl.FRAMEBUFFER_COMPLETE;
  if (isComplete) gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
  const isRead = isComplete && gl.getError() === gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return isRead ? rgba : null;
}

function hasTransparency(rgba) {
  for (let index = 3; index < rgba.length; index += 4) if (rgba[index] < 255) return true;
  return false;
}

// Blends transparent pixels with white, with the rounding of Pillow's alpha_composite.
function blendWithWhite(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const source = rgba[from + 3] * 128, white = (255 * 128 - source) * 255;
    for (let channel = 0; channel < 3; channel++) {
      const sum = rgba[from + channel] * source + white + 0x4000;
      rgb[to++] = ((sum >>> 8) + sum) >>> 15;
    }
  }
  return rgb;
}

const CRC = Uint32Array.from({ length: 256 }, (_, index) => {
  for (let bit = 0; bit < 8; bit++) index = index & 1 ? 0xedb88320 ^ (index >>> 1) : index >>> 1;
  return index;
});

function pngChunk(name, data) {
  const chunk = new Uint8Array(data.length + 12), view = new DataView(chunk.buffer);
  view.setUint32(0, data.length);
  chunk.set(new TextEncoder().encode(name), 4);
  chunk.set(data, 8);
  let crc = 0xffffffff;
  for (let index = 4; index < chunk.length - 4; index++) crc = CRC[(crc ^ chunk[index]) & 255] ^ (crc >>> 8);
  view.setUint32(chunk.length - 4, ~crc >>> 0);
  return chunk;
}

// A PNG file of gray (1 channel) or RGBA (4 channels) bytes. A canvas would change colors of transparent pixels.
async function encodePng(bytes, width, height, channels) {
  const rows = new Uint8Array((width * channels + 1) * height); // each row begins with its filter, 0: none
  for (let y = 0; y < height; y++) {
    rows.set(bytes.subarray(y * width * channels, (y + 1) * width * channels), y * (width * channels + 1) + 1);
  }
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, channels === 1 ? 0 : 6], 8);
  const parts = [
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    pngChunk("IHDR", header),
    pngChunk("IDAT", new Uint8Array(await new Response(stream).arrayBuffer())),
    pngChunk("IEND", new Uint8Array(0)),
  ];
  return new Blob(parts, { type: "image/png" });
}

// ---------------------------------------------------------------------------------------------- masks

// Opens the model, and computes the images inside it. Throws an error if their masks differ.
async function openBackend(name) {
  const ort = await import(new URL(RUNTIMES[name], location.href).href);
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 8) : 1;
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  ort.env.wasm.numThreads = threads;
  ort.env.wasm.proxy = name === "wasm"; // computes in a worker, so that the page reacts meanwhile
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(model.slice(), { executionProviders: [name] });
  const opened = { name, threads, ort, session };
  let equal = 1;
  for (const test of metadata.tests) {
    const image = await decodeImage(pngOf(test.image));
    const expected = (await decodeImage(pngOf(test.mask))).pixels.filter((_, index) => index % 3 === 0);
    const { mask } = await computeMask(opened, image);
    const count = mask.length === expected.length ? mask.reduce((sum, value, i) => sum + (value === expected[i]), 0) : 0;
    equal = Math.min(equal, count / mask.length);
  }
  opened.equal = equal;
  if (equal < MIN_EQUAL) {
    await session.release();
    const advice = metadata.precision === "int8" ? " Export the model without int8." : "";
    throw new Error(`${NAMES[name]} gives other masks: ${equality(equal)} of the pixels are equal, and 99.9 % are needed.${advice}`);
  }
  return opened;
}

function pngOf(base64) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

async function computeMask({ ort, session }, { width, height, pixels }) {
  // The worker takes over the memory of its input.
  const input = new ort.Tensor("uint8", pixels.slice(), [1, height, width, 3]);
  const output = await session.run({ image: input }, ["mask", "class_confidence"]);
  return { mask: await output.mask.getData(), confidences: await output.class_confidence.getData() };
}

const isMultilabel = () => metadata.model.task === "multilabel";

// The pixels of each class.
function countPixels({ mask, width, height }) {
  const area = width * height, counts = new Array(metadata.model.classes.length).fill(0);
  if (isMultilabel()) mask.forEach((value, index) => (counts[Math.floor(index / area)] += value === 1));
  else for (const value of mask) if (value !== IGNORE) counts[value] += 1;
  return counts;
}

// Whether a pixel has a class that is not background.
function isForeground(result, index) {
  if (!isMultilabel()) return !settings.background.includes(result.mask[index]) && result.mask[index] !== IGNORE;
  const area = result.width * result.height;
  for (let at = index; at < result.mask.length; at += area) if (result.mask[at] === 1) return true;
  return false;
}

// The colors of the mask as RGBA. The background is transparent.
function colorMask({ mask, width, height }) {
  const area = width * height, rgba = new Uint8ClampedArray(area * 4), colors = new Uint32Array(rgba.buffer);
  const palette = new Uint32Array(256);
  const bytes = new Uint8Array(palette.buffer);
  metadata.model.palette.forEach((color, index) => {
    if (!settings.background.includes(index)) bytes.set([...color, 255], index * 4);
  });
  if (!isMultilabel()) mask.forEach((value, index) => (colors[index] = palette[value]));
  else mask.forEach((value, index) => value === 1 && (colors[index % area] = palette[Math.floor(index / area)]));
  return new ImageData(rgba, width, height);
}

function cutout(result) {
  const { pixels } = result, rgba = new Uint8Array(result.width * result.height * 4); // transparent pixels are black
  for (let to = 0, from = 0; to < rgba.length; to += 4, from += 3) {
    if (!isForeground(result, to / 4)) continue;
    rgba[to] = pixels[from];
    rgba[to + 1] = pixels[from + 1];
    rgba[to + 2] = pixels[from + 2];
    rgba[to + 3] = 255;
  }
  return rgba;
}

// ---------------------------------------------------------------------------------------------- files

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const stem = (name) => name.replace(/\.[^.]*$/, "") || "image";

async function saveMasks(result) {
  const { mask, width, height, name } = result, area = width * height;
  if (!isMultilabel()) return save(await encodePng(mask, width, height, 1), `${stem(name)}_mask.png`);
  for (const [index, label] of metadata.model.classes.entries()) {
    const channel = mask.subarray(index * area, (index + 1) * area);
    save(await encodePng(channel, width, height, 1), `${stem(name)}_mask_${label.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.png`);
  }
}

// The columns of predictions.csv. A cell that a spreadsheet would take for a formula gets "'" in front.
function toCsv(images) {
  const cell = (value) => {
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = [["image", "class", "pixels", "fraction", "mean_confidence"]];
  for (const { name, counts, confidences, width, height } of images) {
    metadata.model.classes.forEach((label, index) => {
      const confidence = Number.isNaN(confidences[index]) ? "" : rounded(confidences[index], 4);
      rows.push([name, label, counts[index], rounded(counts[index] / (width * height), 6), confidence]);
    });
  }
  return new Blob([rows.map((row) => row.map(cell).join(",") + "\n").join("")], { type: "text/csv" });
}

const rounded = (value, digits) => String(Number(value.toFixed(digits)));

// ---------------------------------------------------------------------------------------------- the page

const percent = (fraction) => `${(fraction * 100).toFixed(1)} %`;

// The fraction of equal pixels, rounded down, so that one different pixel is not 100 %.
const equality = (fraction) => (fraction === 1 ? "100 %" : `${(Math.floor(fraction * 100_000) / 1000).toFixed(3)} %`);

function element(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function button(text, name, action) {
  const node = element("button", { type: "button", textContent: text });
  const label = `${text} of ${name}`;
  node.setAttribute("aria-label", label);
  node.addEventListener("click", async () => {
    node.disabled = true;
    try {
      await action();
    } catch (error) {
      find("status").textContent = `${label}: ${error.message}`;
    } finally {
      node.disabled = false;
    }
  });
  return node;
}

function drawPictures(result) {
  const { width, height, pixels, name } = result;
  const rgba = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let from = 0, to = 0; from < pixels.length; from += 3, to += 4) {
    rgba[to] = pixels[from];
    rgba[to + 1] = pixels[from + 1];
    rgba[to + 2] = pixels[from + 2];
  }
  const image = element("canvas", { width, height });
  image.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  const overlay = element("canvas", { width, height });
  overlay.getContext("2d").putImageData(colorMask(result), 0, 0);
  const stack = element("div", { className: "stack", role: "img" }, [image, overlay]);
  const shown = metadata.model.classes.map((label, index) => `${label} ${percent(result.counts[index] / (width * height))}`);
  stack.setAttribute("aria-label", `${name} with its mask: ${shown.join(", ")}`);
  const slider = element("input", { type: "range", min: 0, max: 100, value: 50 });
  const text = element("span", { className: "value" });
  text.setAttribute("aria-hidden", "true"); // the slider has the same text
  const show = () => {
    overlay.style.opacity = slider.value / 100;
    text.textContent = `${slider.value} %`;
    slider.setAttribute("aria-valuetext", text.textContent);
  };
  slider.addEventListener("input", show);
  slider.setAttribute("aria-label", `Mask of ${name}: opacity`);
  show();
  return element("div", {}, [stack, element("div", { className: "slider" }, [element("span", { textContent: "Mask" }), slider, text])]);
}

function drawTable({ counts, width, height }) {
  const { classes, palette } = metadata.model;
  const rows = classes.map((label, index) => {
    const isDrawn = !settings.background.includes(index);
    const swatch = element("span", { className: isDrawn ? "swatch" : "swatch none" });
    if (isDrawn) swatch.style.background = `rgb(${palette[index].join(" ")})`;
    const name = element("th", { scope: "row" }, [swatch, label]);
    const fraction = element("td", { className: "number", textContent: percent(counts[index] / (width * height)) });
    return element("tr", {}, [name, fraction, element("td", { className: "number", textContent: counts[index].toLocaleString("en") })]);
  });
  const heads = ["Class", "Fraction", "Pixels"].map((text, index) =>
    element("th", { scope: "col", className: index ? "number" : "", textContent: text }));
  return element("table", {}, [
    element("caption", { textContent: `${width}×${height} pixels` }),
    element("thead", {}, [element("tr", {}, heads)]),
    element("tbody", {}, rows),
  ]);
}

function drawResult(article, result) {
  const { name, width, height } = result;
  const buttons = element("div", { className: "row" }, [
    button("Mask (PNG)", name, () => saveMasks(result)),
    button("Cutout (PNG)", name, async () =>
      save(await encodePng(cutout(result), width, height, 4), `${stem(name)}_cutout.png`)),
    button("Table (CSV)", name, () => save(toCsv([result]), `${stem(name)}.csv`)),
  ]);
  const heading = element("h2", { textContent: name });
  article.replaceChildren(heading, drawPictures(result), element("div", {}, [drawTable(result), buttons]));
}

function addImage(blob, name) {
  const text = element("p", { textContent: "waiting …" });
  const article = element("article", {}, [element("h2", { textContent: name }), text]);
  article.setAttribute("aria-label", name);
  article.setAttribute("aria-busy", "true");
  find("results").prepend(article);
  find("all").hidden = false;
  queue = queue.then(async () => {
    if (!article.isConnected) return; // removed meanwhile
    text.textContent = "computing …";
    try {
      const start = performance.now();
      const image = await decodeImage(blob);
      const result = { name, ...image, ...(await computeMask(backend, image)) };
      result.counts = countPixels(result);
      if (!article.isConnected) return;
      drawResult(article, result);
      results.push(result);
      find("status").textContent = `${name}: done in ${((performance.now() - start) / 1000).toFixed(1)} s.`;
    } catch (error) {
      const reason = /memory|allocat|Array buffer/i.test(error.message) ? "The memory does not suffice. Make the image smaller." : error.message;
      text.className = "bad";
      text.textContent = reason;
      find("status").textContent = `${name}: ${reason}`;
    }
    article.removeAttribute("aria-busy");
  });
}

function addFiles(files) {
  if (!files.length) return; // text was dropped
  if (!backend) return (find("status").textContent = "The model is not ready. Drop the images again after the self-test.");
  for (const file of files) addImage(file, file.name);
}

async function openCamera() {
  const dialog = find("camera-dialog"), video = find("video");
  find("camera-error").textContent = "";
  find("capture").disabled = true;
  dialog.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    if (!dialog.open) return stream.getTracks().forEach((track) => track.stop());
    video.srcObject = stream;
    await video.play();
    find("capture").disabled = false;
    find("capture").focus();
  } catch (error) {
    find("camera-error").textContent = `The camera cannot be used (${error.message}). Allow it, or choose an image.`;
  }
}

function stopCamera() {
  find("video").srcObject?.getTracks().forEach((track) => track.stop());
  find("video").srcObject = null;
}

async function captureImage() {
  const video = find("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  find("camera-dialog").close();
  addImage(await canvas.convertToBlob({ type: "image/png" }), `camera-${++shots}.png`);
}

function showBackend() {
  const threads = backend.name === "wasm" ? `, ${backend.threads} thread${backend.threads > 1 ? "s" : ""}` : "";
  const count = metadata.tests.length;
  report(
    `Self-test: ${equality(backend.equal)} of the pixels of ${count} image${count > 1 ? "s" : ""} are equal (${NAMES[backend.name]}${threads}).`,
    "good",
  );
}

function report(text, kind) {
  find("self-test").textContent = text;
  find("self-test").className = kind;
}

// Changes to another backend if it passes the self-test. Otherwise the present one stays.
function changeBackend() {
  const name = find("backend").value;
  queue = queue.then(async () => {
    report(`Testing ${NAMES[name]} …`, "");
    try {
      const other = await openBackend(name);
      await backend.session.release();
      backend = other;
      showBackend();
    } catch (error) {
      find("backend").value = backend.name;
      showBackend();
      find("status").textContent = `${NAMES[name]} is not used. ${error.message}`;
    }
  });
}

function describeModel() {
  const { model: { classes, encoder, metrics, licenses }, version, precision } = metadata;
  const scores = metrics.val_miou == null ? {} : { "Validation mIoU": metrics.val_miou.toFixed(3) };
  const facts = { Classes: classes.join(", "), Encoder: encoder, Precision: precision, ...scores };
  for (const [part, license] of Object.entries(licenses)) facts[`License (${part})`] = license;
  facts["Made with"] = `pixelwise ${version}, ONNX Runtime Web ${settings.runtime} (MIT license)`;
  for (const [name, value] of Object.entries(facts)) {
    find("about").append(element("dt", { textContent: name }), element("dd", { textContent: value }));
  }
}

function connect() {
  find("files").addEventListener("change", (event) => {
    addFiles(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
  find("camera").addEventListener("click", openCamera);
  find("capture").addEventListener("click", captureImage);
  find("close-camera").addEventListener("click", () => find("camera-dialog").close());
  find("camera-dialog").addEventListener("close", stopCamera);
  find("all-csv").addEventListener("click", () => save(toCsv(results), "predictions.csv"));
  find("clear").addEventListener("click", () => {
    find("results").replaceChildren();
    results.length = 0;
    find("all").hidden = true;
    find("status").textContent = "All images are removed.";
    find("files").focus();
  });
  find("backend").addEventListener("change", changeBackend);
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("over", name === "dragover");
      if (name === "drop") addFiles(event.dataTransfer.files);
    });
  }
}

async function start() {
  document.title = find("title").textContent = settings.title;
  connect();
  try {
    model = await fetchModel();
    metadata = readMetadata(model);
    describeModel();
    report("Testing the model …", "");
    backend = await openBackend("wasm");
  } catch (error) {
    return report(`The page cannot be used. ${error.message}`, "bad");
  } finally {
    find("loading").hidden = true;
  }
  showBackend();
  find("files").disabled = false;
  find("choose").classList.remove("disabled");
  find("camera").disabled = !navigator.mediaDevices;
  find("backends").hidden = !(await navigator.gpu?.requestAdapter());
}

if ("serviceWorker" in navigator) navigator.serviceWorker.register("service-worker.js").catch(() => {}); // http without TLS
start();
