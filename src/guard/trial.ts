export { startTrialEngine } from '../upstream/trial-engine.js';
