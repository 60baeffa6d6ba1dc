/** Lets calls that came in one turn of the event loop go on together. */
export class Turn {
  #waiting: (() => void)[] = [];
  readonly #afterwards: () => void;

  /** @param afterwards runs when the calls that waited have done what they can do without waiting again. */
  constructor(afterwards: () => void) {
    this.#afterwards = afterwards;
  }

  /** Resolves when everything that has arrived in this turn is parsed. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.length === 0) setImmediate(this.#release);
      this.#waiting.push(resolve);
    });
  }

  readonly #release = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
    // A tick that is asked for in a microtask runs when all microtasks have.
    queueMicrotask(() => process.nextTick(this.#afterwards));
  };
}
