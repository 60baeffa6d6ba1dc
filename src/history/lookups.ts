import type { Call } from '../docker/call.js';
import { OPERATIONS } from '../docker/catalogue.js';
import type { Operation, OperationId } from '../docker/operation.js';
import type { RequestEngine } from '../docker/engine-answer.js';
import { readImageName } from '../hazards/image-name.js';
import { asObject, asString } from '../base/json.js';
import { queryText } from '../hazards/query.js';
import { imageOf, isReference, type SequenceSettings, type Told } from '../hazards/sequences.js';

/** What the engine is asked before a call can be judged. */
export interface Question {
  readonly about: 'image' | 'container' | 'repository';
  readonly name: string;
}

/** The engine has to answer within this time (ms); without an answer names decide, and a pulled repository is new. */
const PATIENCE = 2_000;

export const NOTHING_TOLD: Told = Object.freeze({});

const CONTAINER = /^\/?[A-Za-z0-9][A-Za-z0-9_.-]*$/;

const image = (call: Call): Question | undefined => {
  const name = imageOf(call);
  return isReference(name) ? { about: 'image', name } : undefined;
};

const container = ({ path }: Call): Question | undefined => {
  const name = path['id'] ?? '';
  return CONTAINER.test(name) ? { about: 'container', name } : undefined;
};

const repository = (call: Call): Question | undefined => {
  const name = pulledRepository(call);
  return name === undefined ? undefined : { about: 'repository', name };
};

type Ask = (call: Call) => Question | undefined;

/** Which calls are worth a question, by operation; of the names, only those that an engine would take. */
export function questionsFor(settings: SequenceSettings): ReadonlyMap<OperationId, Ask> {
  const built = settings['build-and-run'] !== false;
  const pulled = settings['pull-and-escape'] !== false;
  const ofOperation = ({ does }: Operation): Ask | undefined => {
    if (does.runs !== undefined || does.retags === true) return built || pulled ? image : undefined;
    if (does.starts !== undefined) return built ? container : undefined;
    return does.pulls === 'image' && pulled ? repository : undefined;
  };
  const asks = OPERATIONS.map((operation) => [operation.id, ofOperation(operation)] as const);
  return new Map(asks.filter((entry): entry is [OperationId, Ask] => entry[1] !== undefined));
}

/** The repository of a pull, in its short form; undefined for an import, or what is no name. */
export function pulledRepository(call: Call): string | undefined {
  const from = queryText(call, 'fromImage');
  return from === '' ? undefined : readImageName(from.replace(/:$/, ''))?.name;
}

/** Never rejects, and ends in time; what the engine did not tell is missing. */
export async function askAbout(request: RequestEngine, { about, name }: Question): Promise<Told> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Told>((resolve) => {
    timer = setTimeout(resolve, PATIENCE, NOTHING_TOLD);
  });
  try {
    return await Promise.race([ANSWERS[about](request, name), late]);
  } catch {
    return NOTHING_TOLD;
  } finally {
    clearTimeout(timer);
  }
}

const ANSWERS: Readonly<Record<Question['about'], (request: RequestEngine, name: string) => Promise<Told>>> =
  {
    async image(request, name) {
      const answer = await getJson(request, `/images/${pathOf(name)}/json`);
      const { Id, RepoTags, RepoDigests, Created } = asObject(answer);
      if (typeof Id !== 'string') return NOTHING_TOLD;
      const names = [RepoTags, RepoDigests]
        .flatMap((list) => (Array.isArray(list) ? list : []))
        .map(asString);
      return { image: { reference: name, id: digitsOf(Id), names, created: Date.parse(asString(Created)) } };
    },
    async container(request, name) {
      const answer = await getJson(request, `/containers/${pathOf(name.replace(/^\//, ''))}/json`);
      const { Id, Image, Created, State } = asObject(answer);
      if (typeof Id !== 'string') return NOTHING_TOLD;
      const { StartedAt } = asObject(State);
      return {
        container: {
          id: Id,
          image: digitsOf(asString(Image)),
          created: Date.parse(asString(Created)),
          // The year 1 stands for never.
          started: Date.parse(asString(StartedAt)) > 0,
        },
      };
    },
    async repository(request, name) {
      const filters = encodeURIComponent(JSON.stringify({ reference: [name] }));
      const answer = await getJson(request, `/images/json?filters=${filters}`);
      return Array.isArray(answer) ? { hadRepository: answer.length > 0 } : NOTHING_TOLD;
    },
  };

/** The body of a 200, else null. */
async function getJson(request: RequestEngine, target: string): Promise<unknown> {
  const { status, body } = await request('GET', target, { timeout: PATIENCE });
  return status === 200 ? body : null;
}

const pathOf = (name: string): string => name.split('/').map(encodeURIComponent).join('/');
const digitsOf = (id: string): string => id.replace(/^sha256:/, '');
