// A CometD server that sends the sample notification in bursts, over so many sessions by turns.
// Orders on standard input, a JSON array a line: ["send", {"count": 10000, "burst": 100}]; it listens on loopback.
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');
const readline = require('readline');
const modules = path.join(__dirname, '..', 'tests', 'interop', 'node_modules');
const cometd = require(path.join(modules, 'cometd-nodejs-server'));

const sample = fs.readFileSync(path.join(__dirname, '..', 'tests', 'fixtures', 'documented', 'leave-leftchat.json'), 'utf8');
const SESSIONS = 10000;
const bayeux = cometd.createCometDServer({timeout: 20000, maxInterval: 10000});
const server = http.createServer(bayeux.handle);
let client = null;
bayeux.addListener('sessionAdded', session => { client = session; });
bayeux.policy = {canHandshake: (s, m, cb) => cb(undefined, true), canCreate: (s, m, c, cb) => cb(undefined, true),
    canSubscribe: (s, m, c, cb) => cb(undefined, true), canPublish: (s, m, c, cb) => cb(undefined, true)};

let next = 0;
const notification = () => {
    const {data, channel} = JSON.parse(sample);
    const session = next % SESSIONS;
    data.facebooksession.id = `0002DaAVKJ${String(session).padStart(6, '0')}`;
    data.facebooksession.state = Math.floor(next / SESSIONS) % 2 ? 'LeftChat' : 'Chatting';
    next += 1;
    return {channel, data};
};

const send = ({count, burst}) => {
    let left = count;
    const go = () => {
        for (let i = 0; i < Math.min(burst, left); i++) {
            const {channel, data} = notification();
            client.deliver(null, channel, data);
        }
        left -= burst;
        if (left > 0) setImmediate(go);
    };
    go();
};

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({port: server.address().port})));
const lines = readline.createInterface({input: process.stdin});
lines.on('line', line => { const [order, details] = JSON.parse(line); if (order === 'send') send(details); });
lines.on('close', () => process.exit(0));
