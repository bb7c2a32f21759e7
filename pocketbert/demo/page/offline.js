// Keeps a copy of all files in the browser, so that the page can be loaded again without the server.

export const CACHE = 'pocketbert-demo';

// Keeps a file of a bundle, whose content has been checked. Does nothing in a browser that keeps no copies.
export async function keepFile(path, content) {
  try {
    await (await caches.open(CACHE)).put(path, new Response(content));
  } catch {
    // `keepCopy` reports it
  }
}

// Keeps all other files. Returns a sentence for the page.
// Private windows of some browsers have no service workers, or no room.
export async function keepCopy(paths) {
  try {
    const cache = await caches.open(CACHE);
    const wanted = new Set(paths.map((path) => new URL(path, location.href).href));
    for (const request of await cache.keys()) if (!wanted.has(request.url)) await cache.delete(request);
    for (const url of wanted) {
      const isThere = Boolean(await cache.match(url));
      if (url.includes('/files/')) {
        if (!isThere) throw new Error('no room');
      } else if (!isThere || !url.includes('/libraries/')) {
        await cache.add(url);
      }
    }
    await navigator.serviceWorker.register('service-worker.js', { updateViaCache: 'none' });
    await navigator.serviceWorker.ready;
    return 'This page works without its server, also after a reload.';
  } catch {
    return 'This browser keeps no copy: the page works without its server until you reload it.';
  }
}
