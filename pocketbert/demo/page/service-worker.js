// Answers from the browser's copy if the server does not. Files whose path holds a hash or a version come from the copy.
const CACHE = 'pocketbert-demo'; // the same as in offline.js
const FIXED = /\/(files|libraries)\//;

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', (event) => {
  if (event.request.method === 'GET') event.respondWith(answer(event.request));
});

async function answer(request) {
  const copy = await (await caches.open(CACHE)).match(request, { ignoreSearch: request.mode === 'navigate' });
  if (copy && FIXED.test(request.url)) return copy;
  try {
    return await fetch(request);
  } catch (error) {
    if (copy) return copy;
    throw error;
  }
}
