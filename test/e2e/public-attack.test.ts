import { inOwnNetwork } from '../support/internet.js';

// tap must not be loaded outside: it would count a test of its own.
await inOwnNetwork(import.meta.url, async () => (await import('./public-attack-scenes.js')).scenes());
