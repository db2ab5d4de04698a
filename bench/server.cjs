// A CometD server that sends the sample notification in bursts, over so many sessions by turns. It listens on loopback.
// An order on standard input, one JSON array: ["send", {"count": 10000, "burst": 100, "every_ms": 0}].
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');
const readline = require('readline');
const modules = path.join(__dirname, '..', 'tests', 'interop', 'node_modules');
const cometd = require(path.join(modules, 'cometd-nodejs-server'));

const sample = JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'tests', 'fixtures', 'documented', 'leave-leftchat.json'), 'utf8'));
const SESSIONS = 10000;
const bayeux = cometd.createCometDServer({timeout: 20000, maxInterval: 10000});
const server = http.createServer(bayeux.handle);
let client = null;
bayeux.addListener('sessionAdded', session => { client = session; });
bayeux.policy = {canHandshake: (s, m, cb) => cb(undefined, true), canCreate: (s, m, c, cb) => cb(undefined, true),
    canSubscribe: (s, m, c, cb) => cb(undefined, true), canPublish: (s, m, c, cb) => cb(undefined, true)};

let next = 0;
const notification = () => {
    const session = next % SESSIONS;
    const id = `0002DaAVKJ${String(session).padStart(6, '0')}`;
    const state = Math.floor(next / SESSIONS) % 2 ? 'LeftChat' : 'Chatting';
    next += 1;
    return {...sample.data, facebooksession: {...sample.data.facebooksession, id, state}};
};

let left = 0;
let burst = 0;
const deliver = () => {
    for (let i = 0; i < Math.min(burst, left); i++) client.deliver(null, sample.channel, notification());
    left -= burst;
};

// The next burst goes out when the client has taken the one before and asks for more; or at a fixed pace.
const send = order => {
    ({count: left, burst} = order);
    if (order.every_ms) {
        const timer = setInterval(() => left > 0 ? deliver() : clearInterval(timer), order.every_ms);
    } else {
        bayeux.addExtension({incoming: (server, session, message, answer) => {
            if (message.channel === '/meta/connect' && left > 0) deliver();
            answer(undefined, true);
        }});
        deliver();
    }
};

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({port: server.address().port})));
const lines = readline.createInterface({input: process.stdin});
lines.on('line', line => { const [order, details] = JSON.parse(line); if (order === 'send') send(details); });
lines.on('close', () => process.exit(0));
