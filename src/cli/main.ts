#!/usr/bin/env node
import './check-node.js';

// Only now: an older Node would fail in what follows, for a reason that nobody could guess from its message.
void import('./program.js');
