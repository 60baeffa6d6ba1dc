#!/usr/bin/env node
import './check-node.js';

// Imported after the check: an older Node would fail in it with a message that does not name the reason.
void import('./program.js');
