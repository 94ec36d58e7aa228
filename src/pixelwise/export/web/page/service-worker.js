// Keeps the files of the page on the device, so that it works offline after the first visit.
const CACHE = "pixelwise-" + new URL(location.href).pathname + "-VERSION";
const FILES = [];
// Threads of WebAssembly need these headers, which many static hosts do not send.
const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

self.addEventListener("install", (event) => {
  const requests = FILES.map((name) => new Request(name, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const prefix = CACHE.slice(0, CACHE.lastIndexOf("-") + 1);
  const isOld = (name) => name.startsWith(prefix) && name !== CACHE;
  event.waitUntil((async () => {
    const names = await caches.keys();
    await Promise.all(names.filter(isOld).map((name) => caches.delete(name)));
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method === "GET" && url.origin === location.origin) event.respondWith(respond(event.request));
});

// The copy on the device if there is one. Files that are needed rarely, as those of WebGPU, are kept when first used.
async function respond(request) {
  const cache = await caches.open(CACHE);
  let response = await cache.match(request, { ignoreSearch: true });
  if (!response) {
    response = await fetch(request);
    if (response.status !== 200) return response;
    await cache.put(request, response.clone());
  }
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
