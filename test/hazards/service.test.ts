import t from 'tap';
import { inspect } from '../../src/hazards/inspect.js';
import { formatHazard } from '../../src/hazards/inspection.js';
import { service } from './make-call.js';

const raised = (call: Parameters<typeof inspect>[0]): string[] =>
  inspect(call).hazards.map(formatHazard).sort();

void t.test('the same hazards in a service', (t) => {
  const call = service(
    {
      Mounts: [{ Type: 'bind', Source: '/etc', Target: '/e', BindOptions: { Propagation: 'shared' } }],
      CapabilityAdd: ['CAP_SYS_ADMIN'],
      Privileges: {
        CredentialSpec: { File: 'x' },
        SELinuxContext: { Disable: true },
        Seccomp: { Mode: 'unconfined' },
        AppArmor: { Mode: 'disabled' },
        NoNewPrivileges: true,
      },
      Sysctls: { 'net.x': '1' },
      Hosts: ['192.0.2.6 mirror'],
      Groups: ['docker'],
      OomScoreAdj: -5,
      DNSConfig: { Nameservers: ['192.0.2.6'], Search: ['x'], Options: ['y'] },
      Ulimits: [{ Name: 'core' }],
      Isolation: 'hyperv',
    },
    {
      Runtime: 'odd',
      Networks: [{ Target: 'host' }],
      LogDriver: { Name: 'syslog', Options: { 'syslog-address': 'udp://c2' } },
      Resources: {
        Limits: { MemoryBytes: 5 },
        Reservations: { GenericResources: [{ DiscreteResourceSpec: { Kind: 'gpu', Value: 1 } }] },
      },
    },
    { EndpointSpec: { Ports: [{ PublishedPort: 80, TargetPort: 80, Protocol: 'tcp' }] } },
  );
  t.same(raised(call), [
    'bind-propagation:shared',
    'bind:/etc',
    'capability:SYS_ADMIN',
    'device-request:gpu',
    'dns-option:y',
    'dns-search:x',
    'dns:192.0.2.6',
    'extra-host:192.0.2.6 mirror',
    'group-add:docker',
    'host-namespace:network',
    'isolation:hyperv',
    'log-driver:syslog',
    'log-option:syslog-address=udp://c2',
    'oom-score:-5',
    'publish:0.0.0.0:80',
    'runtime:odd',
    'security-opt:apparmor=unconfined',
    'security-opt:credentialspec=file:x',
    'security-opt:label=disable',
    'security-opt:seccomp=unconfined',
    'sysctl:net.x',
    'ulimit:core',
  ]);
  t.equal(inspect(call).facts['memory'], 5);
  t.end();
});
