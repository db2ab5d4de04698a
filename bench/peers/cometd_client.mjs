// The client of `javascript`: node cometd_client.mjs URL COUNT. It counts what it receives.
import {adapt} from 'cometd-nodejs-client';
import {CometD} from 'cometd';

adapt();
const [url, count] = process.argv.slice(2);
const client = new CometD();
client.configure({url, autoBatch: true});
client.unregisterTransport('websocket');
let received = 0;
client.handshake(shaken => {
    if (!shaken.successful) process.exit(1);
    client.subscribe('/v2/me/*', () => {
        received += 1;
        if (received === Number(count)) console.log('done');
    }, subscribed => console.log(subscribed.successful ? 'ready' : 'refused'));
});
